package kinesis

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

var (
	flagSeed      = flag.Uint64("kinesis.seed", 1, "seed of the malformed requests")
	flagMalformed = flag.Int("kinesis.malformed", 10_000, "how many malformed requests are sent")
)

// modelled are the errors that an answer may have.
var modelled = []string{
	"AccessDeniedException", "DryRunOperationException", "ExpiredIteratorException", "ExpiredNextTokenException", "InvalidArgumentException", "KMSNotFoundException", "LimitExceededException",
	"ProvisionedThroughputExceededException", "RequestEntityTooLargeException", "ResourceInUseException", "ResourceNotFoundException", "SerializationException", "UnknownOperationException", "ValidationException",
}

// TestMalformedRequests sends requests that are damaged in many ways. Each answer is a result or an error of the API, no node crashes, and none keeps anything.
func TestMalformedRequests(t *testing.T) {
	c := start(t)
	admin := sdk(c.Nodes[0], nil)
	create(t, admin, "victim", 2)
	before := resources(t, c.Nodes[0])
	var mu sync.Mutex
	answers := map[string]int{}
	var senders sync.WaitGroup
	const senderCount = 4
	for i := range senderCount {
		senders.Go(func() {
			rng := rand.New(rand.NewPCG(*flagSeed, uint64(i)))
			client := &http.Client{Timeout: 20 * time.Second}
			for k := range *flagMalformed / senderCount {
				m := malform(rng)
				answer, err := m.send(client, c.Nodes[0].Kinesis)
				if err != nil {
					t.Errorf("seed %d sender %d request %d (%s): %v", *flagSeed, i, k, m.how, err)
					return
				}
				mu.Lock()
				answers[answer]++
				mu.Unlock()
			}
		})
	}
	senders.Go(func() { slowLoris(t, c.Nodes[0].Kinesis) })
	senders.Wait()
	fmt.Printf("%d malformed requests with seed %d: %v\n", *flagMalformed, *flagSeed, answers)
	if len(answers) < 5 {
		t.Errorf("the requests were not malformed in many ways: %v", answers)
	}
	// The same node still does what it is asked.
	if err := putStamped(t.Context(), admin, "victim", 10); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		after := resources(t, c.Nodes[0])
		if after[0] <= before[0]+50 && after[1] <= before[1]+20 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines and descriptors were %v and are %v", before, after)
		}
	}
}

// resources returns how many goroutines and descriptors a node has.
func resources(t *testing.T, n *cluster.Node) [2]int {
	t.Helper()
	goroutines, descriptors, err := n.Resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return [2]int{goroutines, descriptors}
}

// malformed is one request that is damaged.
type malformed struct {
	how         string
	target      string
	contentType string
	body        []byte
}

// sound are bodies to damage.
var sound = map[string]string{
	"PutRecord":                `{"StreamName":"victim","PartitionKey":"k","Data":"aGVsbG8="}`,
	"PutRecords":               `{"StreamName":"victim","Records":[{"PartitionKey":"k","Data":"aGVsbG8="},{"PartitionKey":"l","Data":"d29ybGQ=","ExplicitHashKey":"7"}]}`,
	"GetShardIterator":         `{"StreamName":"victim","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`,
	"GetRecords":               `{"ShardIterator":"AAAA","Limit":10}`,
	"DescribeStream":           `{"StreamName":"victim","Limit":3}`,
	"ListShards":               `{"StreamName":"victim","ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":1700000000.5}}`,
	"AddTagsToStream":          `{"StreamName":"victim","Tags":{"a":"b","c":"d"}}`,
	"EnableEnhancedMonitoring": `{"StreamName":"victim","ShardLevelMetrics":["ALL"]}`,
	"SubscribeToShard":         `{"ConsumerARN":"arn:aws:kinesis:us-east-1:000000000000:stream/victim/consumer/c:1","ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}`,
	"UpdateStreamMode":         `{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/nobody","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`,
	"PutResourcePolicy":        `{"ResourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/nobody","Policy":"{}"}`,
}

// malform draws a request.
func malform(rng *rand.Rand) malformed {
	var names []string
	for name := range sound {
		names = append(names, name)
	}
	slices.Sort(names)
	name := names[rng.IntN(len(names))]
	m := malformed{target: "Kinesis_20131202." + name, contentType: "application/x-amz-json-1.1", body: []byte(sound[name])}
	if rng.IntN(3) == 0 {
		m.contentType, m.body = "application/x-amz-cbor-1.1", toCBOR(m.body)
	}
	ways := []func(){
		func() { m.how, m.body = "truncated", m.body[:rng.IntN(len(m.body))] },
		func() { // flip bytes
			m.how, m.body = "flipped", bytes.Clone(m.body)
			for range 1 + rng.IntN(5) {
				m.body[rng.IntN(len(m.body))] ^= byte(1 + rng.IntN(255))
			}
		},
		func() { m.how, m.body = "random", randomBytes(rng, rng.IntN(2000)) },
		func() { // another type in the place of a value
			m.how = "wrong type"
			values := []string{`true`, `12`, `-1`, `1e400`, `123456789012345678901234567890`, `[]`, `{}`, `null`, `"\ud800"`, `""`, `[[]]`, `{"a":{"b":1}}`, `"` + strings.Repeat("x", 3000) + `"`}
			var all map[string]json.RawMessage
			if err := json.Unmarshal([]byte(sound[name]), &all); err != nil {
				panic(err)
			}
			var members []string
			for k := range all {
				members = append(members, k)
			}
			slices.Sort(members)
			all[members[rng.IntN(len(members))]] = json.RawMessage(values[rng.IntN(len(values))])
			var b bytes.Buffer
			b.WriteByte('{')
			for i, k := range members {
				if i > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, "%q:%s", k, all[k])
			}
			b.WriteByte('}')
			m.body, m.contentType = b.Bytes(), "application/x-amz-json-1.1"
		},
		func() {
			open := []string{"[", `{"a":`, "\x81", "\x9f", "\xbf\x61a"}[rng.IntN(5)]
			m.how, m.body = "deep", []byte(strings.Repeat(open, 1+rng.IntN(20_000)))
		},
		func() { m.how, m.body = "bad UTF-8", bytes.ReplaceAll(m.body, []byte("victim"), []byte("vi\xff\xfe")) },
		func() { m.how, m.body = "bad base64", bytes.ReplaceAll(m.body, []byte("aGVsbG8="), []byte("aGV?bG8=")) },
		func() {
			m.how, m.target = "target", []string{"", "Kinesis_20131202.", "Kinesis_20131202.Nothing", "DynamoDB_20120810.GetItem", strings.Repeat("x", 5000)}[rng.IntN(5)]
		},
		func() {
			m.how, m.contentType = "content type", []string{"", "text/plain", "application/x-amz-json-1.0", "application/x-amz-cbor-1.1", ";;;", "application/x-amz-json-1.1; charset=x"}[rng.IntN(6)]
		},
		func() { m.how, m.body = "empty", nil },
		func() {
			m.how, m.body = "large", append(bytes.Clone(m.body), bytes.Repeat([]byte(" "), 300<<10+rng.IntN(1<<20))...)
		},
	}
	ways[rng.IntN(len(ways))]()
	return m
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// toCBOR turns a body in JSON into one in CBOR.
func toCBOR(body []byte) []byte {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		panic(err)
	}
	var convert func(v any) cbor.Value
	convert = func(v any) cbor.Value {
		switch v := v.(type) {
		case string:
			return cbor.String(v)
		case float64:
			return cbor.Uint(uint64(v))
		case []any:
			var out cbor.List
			for _, e := range v {
				out = append(out, convert(e))
			}
			return out
		case map[string]any:
			out := cbor.Map{}
			for k, e := range v {
				out[k] = convert(e)
			}
			return out
		}
		return &cbor.Nil{}
	}
	return cbor.Encode(convert(v))
}

// send sends the request and returns the error's name in the answer, "ok" for a result.
func (m malformed) send(client *http.Client, address string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/", bytes.NewReader(m.body))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Amz-Target", m.target)
	req.Header.Set("Content-Type", m.contentType)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode == http.StatusOK:
		return "ok", nil
	case resp.StatusCode >= 500:
		return "", fmt.Errorf("status %d: %q", resp.StatusCode, body)
	}
	code := ""
	if resp.Header.Get("Content-Type") == "application/x-amz-cbor-1.1" {
		v, err := cbor.Decode(body)
		if err != nil {
			return "", fmt.Errorf("an answer that is no CBOR: %x", body)
		}
		if all, ok := v.(cbor.Map); ok {
			name, _ := all["__type"].(cbor.String)
			code = string(name)
		}
	} else {
		var e struct {
			Type string `json:"__type"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return "", fmt.Errorf("an answer that is no JSON: %q", body)
		}
		code = e.Type
	}
	if !slices.Contains(modelled, code) {
		return "", fmt.Errorf("status %d with %q, which the API does not have: %q", resp.StatusCode, code, body)
	}
	return code, nil
}

// slowLoris opens connections that say little, and some that stop in the middle of a body.
func slowLoris(t *testing.T, address string) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range 100 {
		c, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			return
		}
		conns = append(conns, c)
		text := "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Kinesis_20131202.PutRecord\r\nContent-Type: application/x-amz-json-1.1\r\n"
		if i%2 == 0 {
			text += "Content-Length: 1000000\r\n\r\n{\"StreamName\":\"victim\""
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
		if i%3 == 0 {
			c.Close() // an upload that is given up
		}
	}
	time.Sleep(2 * time.Second)
}
