package main

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/levada-stream/levada/client"
)

func TestEndpoints(t *testing.T) {
	for _, tc := range []struct{ list, says string }{
		{"127.0.0.1:7400", ""},
		{"a:1, b.example:65535,[::1]:7400", ""},
		{"a:1,,b:2", "empty"},
		{"a:1,", "empty"},
		{"", "empty"},
		{"a", "host:port"},
		{"a:", "1 to 65535"},
		{"a:0", "1 to 65535"},
		{"a:70000", "1 to 65535"},
		{"a:http", "1 to 65535"},
		{"a:1,http://b:2", "host:port"},
	} {
		for source, s := range map[string]*session{
			"--endpoint":      {environment: environment{lookup: func(string) (string, bool) { return "", false }}},
			"LEVADA_ENDPOINT": {environment: environment{lookup: func(string) (string, bool) { return tc.list, true }}},
		} {
			got, err := target{Endpoint: []string{tc.list}}.named(s)
			if tc.says == "" || tc.list == "" && source == endpointEnv {
				if err != nil || len(got) != strings.Count(tc.list, ":1")+strings.Count(tc.list, ":65535")+strings.Count(tc.list, ":7400")-strings.Count(tc.list, "::1") {
					t.Errorf("%s %q: %q, %v", source, tc.list, got, err)
				}
				continue
			}
			if exitCode(err) != exitUsage || !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), source) {
				t.Errorf("%s %q: error %v should begin with %s and speak of %q", source, tc.list, err, source, tc.says)
			}
		}
	}
}

func TestBadTargetIsUsage(t *testing.T) {
	for _, flag := range []string{"--endpoint=a:1,,b:2", "--endpoint=", "--timeout=0s", "--timeout=-1s"} {
		name, _, _ := strings.Cut(flag, "=")
		if o := command(t.Context(), "", "stream", "list", flag); o.code != exitUsage || !strings.Contains(o.err, name) {
			t.Errorf("%s: %+v", flag, o)
		}
	}
}

// TestSilentCluster waits for a second of silence: it is what the line is about.
func TestSilentCluster(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never speaks
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for endpoint, reason := range map[string]string{"127.0.0.1:1": "refused", silent.Addr().String(): "no answer yet"} {
		o := command(t.Context(), "", "cluster", "status", "--endpoint", endpoint, "--timeout", "1300ms")
		if o.code != exitUnhealthy || strings.Count(o.err, "still trying "+endpoint+": ") != 1 || !strings.Contains(strings.Split(o.err, "\n")[0], reason) {
			t.Errorf("%+v does not say why it waits", o)
		}
		if strings.Contains(o.err, "levada cluster status") {
			t.Errorf("cluster status sends to itself: %s", o.err)
		}
	}
}

func TestJSONOfEveryCommand(t *testing.T) {
	f := newFakeCluster(t)
	for _, line := range []string{
		"stream list", "stream create s --shards 2", "stream create s --shards 2", "stream list", "stream describe s", "shard list s",
		"put s", "read s", "cluster status", "cluster nodes", "cluster remove-node node1",
		"bench put s --count 3 --size 10B", "bench read s", "stream delete s", "stream delete s --if-exists",
	} {
		o := f.command(t.Context(), "a line\n", append(strings.Fields(line), "-o", "json")...)
		if o.code != 0 || o.out == "" || !json.Valid([]byte(o.out)) {
			t.Errorf("%s: %+v", line, o)
		}
		if line == "stream delete s --if-exists" && !strings.Contains(o.out, `"existed": false`) {
			t.Errorf("%s: %s", line, o.out)
		}
	}
}

func TestRefusedSettingsNameTheirFlag(t *testing.T) {
	other := errors.New("other")
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&client.Error{Kind: client.Invalid, Field: "replicas", Message: "replicas must be 1, 3 or 5, not 2"}, "--replicas must be 1, 3 or 5, not 2"},
		{&client.Error{Kind: client.Invalid, Field: "replicas", Message: "3 nodes can take one"}, "--replicas: 3 nodes can take one"},
		{&client.Error{Kind: client.TooLarge, Field: "max_record_bytes", Message: "max_record_bytes is 9"}, "--max-record-bytes is 9"},
		{&client.Error{Kind: client.Invalid, Field: "retention_ms", Message: "retention_ms must be whole"}, "--retention must be whole"},
		{&client.Error{Kind: client.Invalid, Field: "name", Message: "name may hold letters"}, "NAME may hold letters"},
		{&client.Error{Kind: client.LimitReached, Field: "shard_replicas", Message: "no room"}, "no room"},
		{&client.Error{Kind: client.Invalid, Field: "placement", Message: "placement is off"}, "placement is off"},
		{other, "other"},
	} {
		got := inFlags(tc.err)
		if got.Error() != tc.want || exitCode(got) != exitCode(tc.err) {
			t.Errorf("%v became %v, want %s", tc.err, got, tc.want)
		}
	}
}
