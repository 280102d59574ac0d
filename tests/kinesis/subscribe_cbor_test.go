package kinesis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/smithy-go/encoding/cbor"
)

// TestSubscribeInCBOR has 100,000 records pushed in CBOR, in order. No SDK asks for events in it, so this is a program of its own with the SDK's decoders.
func TestSubscribeInCBOR(t *testing.T) {
	nodes := start(t).Nodes
	consumer := pushStream(t, sdk(nodes[0], nil), "pushed", "cbor")
	put := make(chan error, 1)
	go func() { put <- putStamped(t.Context(), putsOnce(nodes[1]), "pushed", pushedRecords) }()
	body := toCBOR(fmt.Appendf(nil, `{"ConsumerARN":%q,"ShardId":"shardId-000000000000","StartingPosition":{"Type":"TRIM_HORIZON"}}`, consumer))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+nodes[0].Kinesis+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	req.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	var latencies []time.Duration
	decoder := eventstream.NewDecoder()
	for next := 0; next < pushedRecords; {
		message, err := decoder.Decode(resp.Body, nil)
		if err != nil {
			t.Fatalf("after %d records: %v", next, err)
		}
		now := time.Now()
		if got := message.Headers.Get(":content-type").String(); got != "application/x-amz-cbor-1.1" {
			t.Fatalf("an event of %s", got)
		}
		payload, err := cbor.Decode(message.Payload)
		if err != nil {
			t.Fatal(err)
		}
		records, _ := payload.(cbor.Map)["Records"].(cbor.List) // the first event has none
		for _, r := range records {
			var v stamped
			data := r.(cbor.Map)["Data"].(cbor.Slice)
			if err := json.Unmarshal(data, &v); err != nil || v.N != next {
				t.Fatalf("record %d is %s (%v)", next, data, err)
			}
			next++
			latencies = append(latencies, now.Sub(time.Unix(0, v.At)))
		}
	}
	if err := <-put; err != nil {
		t.Fatal(err)
	}
	printLatencies("CBOR", latencies)
}
