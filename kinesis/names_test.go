package kinesis

import (
	"errors"
	"testing"
	"time"
)

func testServer() *Server {
	return &Server{opts: Options{Account: "000000000000", Region: "us-east-1", Now: time.Now}, rules: newRules()}
}

func ptr(s string) *string { return &s }

func TestStreamsAreFoundByNameAndARN(t *testing.T) {
	s := testServer()
	for _, c := range []struct {
		name string
		ref  streamRef
		want string
		code string
	}{
		{"name", streamRef{StreamName: ptr("orders")}, "orders", ""},
		{"ARN", streamRef{StreamARN: ptr(testARN)}, "orders", ""},
		{"both", streamRef{StreamName: ptr("orders"), StreamARN: ptr(testARN)}, "orders", ""},
		{"an id beside it", streamRef{StreamName: ptr("orders"), StreamId: ptr("abc")}, "orders", ""},
		{"nothing", streamRef{}, "", codeInvalidArgument},
		{"an id alone", streamRef{StreamId: ptr("abc")}, "", codeInvalidArgument},
		{"two streams", streamRef{StreamName: ptr("other"), StreamARN: ptr(testARN)}, "", codeInvalidArgument},
		{"another account", streamRef{StreamARN: ptr("arn:aws:kinesis:us-east-1:111111111111:stream/orders")}, "", codeResourceNotFound},
		{"another region", streamRef{StreamARN: ptr("arn:aws:kinesis:eu-west-1:000000000000:stream/orders")}, "", codeResourceNotFound},
		{"a consumer", streamRef{StreamARN: ptr(testARN + "/consumer/c:1")}, "", codeInvalidArgument},
		{"no ARN", streamRef{StreamARN: ptr("orders")}, "", codeInvalidArgument},
	} {
		got, err := s.resolve(&c.ref)
		code := ""
		if e := (*apiError)(nil); errors.As(err, &e) {
			code = e.code
		}
		if got != c.want || code != c.code {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestConsumerARNs(t *testing.T) {
	s := testServer()
	text := s.consumerARN("orders", "reader", 1_700_000_000)
	a, ok := parseARN(text)
	stream, consumer, created, isStream := a.stream()
	if !ok || !isStream || stream != "orders" || consumer != "reader" || created != 1_700_000_000 {
		t.Errorf("%s is %q, %q, %d", text, stream, consumer, created)
	}
	if found := s.rules.Validate(&consumerRef{ConsumerARN: &text}); len(found) > 0 {
		t.Errorf("the API's own pattern refuses it: %q", found)
	}
}

func TestShardIDs(t *testing.T) {
	for text, want := range map[string]uint32{"shardId-000000000000": 0, "shardId-000000000017": 17, "shardId-17": 17, "17": 17, "0": 0} {
		if got, ok := parseShardID(text); !ok || got != want {
			t.Errorf("%s is %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "shardId-", "shardId--1", "x", "99999999999", "shard-1"} {
		if got, ok := parseShardID(text); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
	if got := shardID(17); got != "shardId-000000000017" {
		t.Error(got)
	}
}

func TestOperationsAreAllThere(t *testing.T) {
	seen := map[string]bool{}
	for _, op := range operations() {
		if seen[op.name] || op.run == nil || op.bodyMax == 0 {
			t.Errorf("operation %q is there twice, or does nothing", op.name)
		}
		seen[op.name] = true
	}
	if len(seen) != 45 {
		t.Errorf("%d operations, the API has 45", len(seen))
	}
}
