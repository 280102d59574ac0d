package kinesis

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/client"
)

const (
	whyNoKey        = "there is no encryption at rest, and so no key"
	whyNoEncryption = "records are not encrypted; the original leaves it out for those, too"
)

// notSent are the members that the API has and no answer of the server, with the reason.
var notSent = map[string]string{
	"DescribeStream StreamDescription.KeyId":                  whyNoKey,
	"DescribeStreamSummary StreamDescriptionSummary.KeyId":    whyNoKey,
	"DescribeStreamSummary StreamDescriptionSummary.StreamId": "a client that is told one turns away from the endpoint it was given",
	"GetRecords Records[].EncryptionType":                     whyNoEncryption,
	"PutRecord EncryptionType":                                whyNoEncryption,
	"PutRecords EncryptionType":                               whyNoEncryption,
	"SubscribeToShard Records[].EncryptionType":               whyNoEncryption,
}

// aRecord is a record that has everything.
func aRecord() client.Record {
	return client.Record{PartitionKey: "key", Data: []byte("blob"), Sequence: client.NewSequence(moment.UnixMilli(), 7, 1), ApproxArrival: moment}
}

func someChildren() []childShard {
	return []childShard{{ShardId: shardID(1), ParentShards: []string{shardID(0)}, HashKeyRange: hashKeyRange{"0", "1"}}}
}

// answers writes what an operation answers into w: with everything that it can have, in more than one answer where some things exclude each other.
func answers(t *testing.T, s shapes, f format) []*answered {
	t.Helper()
	server := testServer()
	next := func() (*call, *answered) {
		w := &answered{status: http.StatusOK, header: http.Header{}}
		return &call{server: server, w: w, format: f, stream: "orders", op: &operation{name: s.name}}, w
	}
	c, first := next()
	switch s.name {
	case "GetRecords":
		w := f.writer(nil)
		writePage(w, []client.Record{aRecord()}, 1, "iterator", nil)
		c.send(http.StatusOK, w.Bytes())
		last, second := next()
		w = f.writer(nil)
		writePage(w, []client.Record{aRecord()}, 0, "", someChildren())
		last.send(http.StatusOK, w.Bytes())
		return []*answered{first, second}
	case "PutRecords":
		if err := server.answerPut(c, []client.Result{{Shard: 1, Sequence: aRecord().Sequence}, {Err: server.overRate("orders", 1)}}); err != nil {
			t.Fatal(err)
		}
		return []*answered{first}
	case "SubscribeToShard":
		p := aPush(c)
		p.event([]client.Record{aRecord()}, nil, false)
		p.event([]client.Record{aRecord()}, someChildren(), true)
		return payloads(t, first)
	}
	if reflect.TypeOf(s.out).Elem() == reflect.TypeFor[nothing]() {
		if err := c.reply(nil); err != nil {
			t.Fatal(err)
		}
		return []*answered{first}
	}
	out := reflect.New(reflect.TypeOf(s.out).Elem())
	fill(out.Elem(), "")
	if err := c.reply(out.Interface()); err != nil {
		t.Fatal(err)
	}
	return []*answered{first}
}

func aPush(c *call) *push {
	return &push{s: c.server, c: c, control: http.NewResponseController(c.w), last: aRecord().Sequence}
}

// payloads takes an event stream apart.
func payloads(t *testing.T, stream *answered) (all []*answered) {
	t.Helper()
	for d := eventstream.NewDecoder(); stream.body.Len() > 0; {
		m, err := d.Decode(&stream.body, nil)
		if err != nil {
			t.Fatal(err)
		}
		one := &answered{}
		one.body.Write(m.Payload)
		all = append(all, one)
	}
	return all
}

// kindsIn lists the members of the answers of an operation.
func kindsIn(t *testing.T, f format, all []*answered) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, one := range all {
		switch {
		case one.body.Len() == 0:
		case f == formatJSON:
			members(parse(t, one.body.Bytes()), "", found)
		default:
			tree, err := cbor.Decode(one.body.Bytes())
			if err != nil {
				t.Fatalf("%x: %v", one.body.Bytes(), err)
			}
			members(plain(tree), "", found)
		}
	}
	return found
}

// plain turns CBOR into what parse makes of JSON. A time, a tag here, is a number there.
func plain(v cbor.Value) any {
	switch v := v.(type) {
	case cbor.Map:
		all := map[string]any{}
		for name, e := range v {
			all[name] = plain(e)
		}
		return all
	case cbor.List:
		all := []any{}
		for _, e := range v {
			all = append(all, plain(e))
		}
		return all
	case cbor.String:
		return string(v)
	case cbor.Slice:
		return []byte(v)
	case cbor.Bool:
		return bool(v)
	case cbor.Uint, cbor.NegInt:
		return json.Number("1")
	case *cbor.Tag:
		if _, whole := v.Value.(cbor.Uint); v.ID == 1 && whole {
			return json.Number("1")
		}
	}
	return nil // a kind that no member has
}

// wanted returns the members of all answers: by the snapshots, and of SubscribeToShard, which has none, by the SDK's types.
func wantedAnswers(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for name, s := range snapshots(t, "response_snapshot", ".response.snap") {
		if s.first != "200" || formatOf(s.header.Get("Content-Type")) != formatJSON {
			t.Errorf("%s is answered with %s %v", name, s.first, s.header)
		}
		all[name] = map[string]string{}
		members(parse(t, s.body), "", all[name])
	}
	event := reflect.New(reflect.TypeFor[types.SubscribeToShardEvent]())
	fill(event.Elem(), "")
	fields := map[string]string{}
	fieldsOf(event, "", fields)
	for path, kind := range fields {
		fields[path] = map[string]string{"int32": "number", "int64": "number", "string": "string", "slice": "array", "struct": "object", "bool": "boolean"}[kind]
		switch {
		case strings.HasSuffix(path, "Timestamp"):
			fields[path] = "number"
		case strings.HasSuffix(path, "Data"):
			fields[path] = "string"
		}
	}
	all["SubscribeToShard"] = fields
	return all
}

// TestResponseSnapshotsAreAllProduced holds what the server can answer, in both formats, against the SDK's snapshots: each member is there, of the
// same kind, but for those that are not sent on purpose; and there is none that the API does not have.
func TestResponseSnapshotsAreAllProduced(t *testing.T) {
	want, unused, written := wantedAnswers(t), maps.Clone(notSent), 0
	all := allShapes(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if want[name] == nil {
			t.Errorf("there is no snapshot of %s", name)
		}
		for _, f := range []format{formatJSON, formatCBOR} {
			got := kindsIn(t, f, answers(t, all[name], f))
			written += len(got)
			expected := maps.Clone(want[name])
			for path := range want[name] {
				if _, ok := notSent[name+" "+path]; ok {
					delete(unused, name+" "+path)
					delete(expected, path)
				}
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("%s as %s (-API, +server):\n%s", name, f.mediaType(), diff)
			}
		}
	}
	for what := range unused {
		t.Errorf("the API has no %s", what)
	}
	t.Logf("%d operations, %d members in two formats, %d not sent on purpose", len(all), written, len(notSent))
}

// TestTheSDKReadsEveryAnswer gives the server's answers to the SDK and looks for every member in what it makes of them.
func TestTheSDKReadsEveryAnswer(t *testing.T) {
	want := wantedAnswers(t)
	for name, s := range allShapes(t) {
		if name == "SubscribeToShard" {
			continue // TestTheSDKReadsASubscription
		}
		got := map[string]string{}
		for _, one := range answers(t, s, formatJSON) {
			e := &exchange{answer: func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), one.header)
				w.WriteHeader(one.status)
				_, _ = w.Write(one.body.Bytes())
			}}
			out, err := e.call(t, name)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			fieldsOf(out, "", got)
		}
		for path := range want[name] {
			if _, ok := notSent[name+" "+path]; !ok && got[path] == "" {
				t.Errorf("%s: the SDK has not read %s", name, path)
			}
			delete(got, path)
		}
		for path := range got {
			t.Errorf("%s: the SDK has read %s, which is not in its snapshot", name, path)
		}
	}
}

// TestTheSDKReadsASubscription gives a subscription's events to the SDK.
func TestTheSDKReadsASubscription(t *testing.T) {
	e := &exchange{answer: func(w http.ResponseWriter, _ *http.Request) {
		p := aPush(&call{server: testServer(), w: w, format: formatJSON})
		p.begin()
		p.event([]client.Record{aRecord()}, nil, false)
		p.event(nil, someChildren(), true)
		p.exception(errTakenOver)
	}}
	out, err := e.call(t, "SubscribeToShard")
	if err != nil {
		t.Fatal(err)
	}
	stream := out.Interface().(*sdk.SubscribeToShardOutput).GetStream()
	defer stream.Close()
	record, got := aRecord(), []types.SubscribeToShardEvent{}
	for event := range stream.Events() {
		got = append(got, event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value)
	}
	if len(got) != 2 || len(got[0].Records) != 1 || len(got[1].ChildShards) != 1 {
		t.Fatalf("got %d events: %+v; %v", len(got), got, stream.Err())
	}
	if r := got[0].Records[0]; string(r.Data) != "blob" || *r.PartitionKey != "key" || *r.SequenceNumber != record.Sequence.String() || !r.ApproximateArrivalTimestamp.Equal(moment) {
		t.Errorf("the record is %+v", r)
	}
	if got[0].ContinuationSequenceNumber == nil || *got[0].ContinuationSequenceNumber != record.Sequence.String() || got[0].MillisBehindLatest == nil || got[0].ChildShards != nil {
		t.Errorf("the event is %+v", got[0])
	}
	if child := got[1].ChildShards[0]; *child.ShardId != shardID(1) || child.ParentShards[0] != shardID(0) || *child.HashKeyRange.EndingHashKey != "1" || got[1].ContinuationSequenceNumber != nil {
		t.Errorf("the last event is %+v", got[1])
	}
	var taken *types.ResourceInUseException
	if err := stream.Err(); !errors.As(err, &taken) {
		t.Errorf("the end is %v", err)
	}
}

// errorsNotSent are the modelled errors that the server does not answer with, with the reason.
var errorsNotSent = map[string]string{
	"InternalFailureException": "the original answers InternalFailure; this one is for subscriptions, see TestTheSDKReadsASubscriptionsFailure",
	"KMSAccessDeniedException": "there is no encryption at rest: no key is ever used",
	"KMSDisabledException":     "there is no encryption at rest: no key is ever used",
	"KMSInvalidStateException": "there is no encryption at rest: no key is ever used",
	"KMSOptInRequired":         "there is no encryption at rest: no key is ever used",
	"KMSThrottlingException":   "there is no encryption at rest: no key is ever used",
}

// TestErrorSnapshotsAreProduced holds the modelled errors against the SDK's snapshots, and has the SDK read them.
func TestErrorSnapshotsAreProduced(t *testing.T) {
	sent := map[string]bool{}
	for _, code := range []string{
		codeAccessDenied, codeDryRun, codeExpiredIterator, codeExpiredToken, codeInvalidArgument, codeKeyNotFound, codeLimitExceeded, codeResourceInUse, codeResourceNotFound, codeThroughput, codeValidation,
	} {
		sent[code] = true
	}
	for name, s := range snapshots(t, "response_snapshot", ".error.snap") {
		if _, ok := errorsNotSent[name]; ok == sent[name] {
			t.Errorf("%s: sent %v, not sent on purpose %v", name, sent[name], ok)
		}
		if !sent[name] {
			continue
		}
		want, got, status := map[string]string{}, map[string]string{}, ""
		members(parse(t, s.body), "", want)
		e := &exchange{answer: func(w http.ResponseWriter, _ *http.Request) {
			(&call{server: testServer(), w: w, format: formatJSON}).fail(fail(name, "%s", "__Message__"))
			kept := w.(*answered)
			status = http.StatusText(kept.status)
			members(parse(t, kept.body.Bytes()), "", got)
		}}
		_, err := e.call(t, "DescribeLimits")
		if diff := cmp.Diff(want, got); diff != "" || status != http.StatusText(http.StatusBadRequest) || s.first != "400" {
			t.Errorf("%s: status %s, the snapshot's is %s (-API, +server):\n%s", name, status, s.first, diff)
		}
		var modelled smithy.APIError
		if !errors.As(err, &modelled) || modelled.ErrorCode() != name || modelled.ErrorMessage() != "__Message__" {
			t.Errorf("%s: the SDK has read %v", name, err)
		}
		delete(sent, name)
	}
	for name := range sent {
		t.Errorf("the API has no %s", name)
	}
}

// TestTheSDKReadsASubscriptionsFailure has the SDK read the one error that only a subscription has.
func TestTheSDKReadsASubscriptionsFailure(t *testing.T) {
	e := &exchange{answer: func(w http.ResponseWriter, _ *http.Request) {
		p := aPush(&call{server: testServer(), w: w, format: formatJSON})
		p.begin()
		p.exception(unavailable("the shard has no leader"))
	}}
	out, err := e.call(t, "SubscribeToShard")
	if err != nil {
		t.Fatal(err)
	}
	stream := out.Interface().(*sdk.SubscribeToShardOutput).GetStream()
	defer stream.Close()
	select {
	case event, more := <-stream.Events():
		if more {
			t.Errorf("got %+v", event)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the subscription does not end")
	}
	var failed *types.InternalFailureException
	if err := stream.Err(); !errors.As(err, &failed) || *failed.Message != "the shard has no leader" {
		t.Errorf("the end is %v", err)
	}
}
