package kinesis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// slowClient is a client that does not keep up, and how long a node may bear with it.
type slowClient struct {
	name  string
	many  int
	text  string        // what is sent at once
	drip  string        // what is sent after that, again and again
	bears time.Duration // until the connection is over
	want  string        // what the last answer begins with, "" for none
}

const unsentBody = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Kinesis_20131202.%s\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n{\"StreamName\":"

// slowClients are more than a node has memory for, had it to keep room for the whole of what they begin.
var slowClients = []slowClient{
	{"header never ends", 50, "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: ", "", 15 * time.Second, ""},
	{"large body stops", 40, fmt.Sprintf(unsentBody, "PutRecords", 14_000_000), "", 20 * time.Second, "HTTP/1.1 408"},
	{"large body drips", 20, fmt.Sprintf(unsentBody, "PutRecords", 14_000_000), " ", 20 * time.Second, "HTTP/1.1 408"},
	{"small body stops", 50, fmt.Sprintf(unsentBody, "PutRecord", 1000), "", 10 * time.Second, "HTTP/1.1 408"},
	{"body of an unknown operation stops", 50, fmt.Sprintf(unsentBody, "Nothing", 1000), "", 35 * time.Second, ""},
}

// run opens the connections and waits until the node has ended them.
func (s slowClient) run(t *testing.T, address string) {
	var all sync.WaitGroup
	defer all.Wait()
	for range s.many {
		all.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
				return
			}
			defer conn.Close()
			began := time.Now()
			if _, err := io.WriteString(conn, s.text); err != nil {
				t.Errorf("%s: %v", s.name, err)
				return
			}
			if s.drip != "" {
				all.Go(func() {
					for err := error(nil); err == nil; time.Sleep(50 * time.Millisecond) {
						_, err = io.WriteString(conn, s.drip)
					}
				})
			}
			_ = conn.SetReadDeadline(began.Add(s.bears)) // a TCP connection can
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection is open after %v", s.name, s.bears)
			}
			// Whoever still sends when the connection is closed may lose the answer.
			if !strings.HasPrefix(string(answer), s.want) && (s.drip == "" || len(answer) > 0) && !strings.HasPrefix(string(answer), "HTTP/1.1 503") {
				t.Errorf("%s: answered with %.200q", s.name, answer)
			}
		})
	}
}

// unread is a client that asks for more than fits into the buffers of a connection and takes nothing. It returns how much of that came when it
// reads at last, after the given time.
func unread(t *testing.T, name, address, text string, after time.Duration) int64 {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return 0
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // now the answer has begun
		t.Errorf("%s: %v", name, err)
	}
	time.Sleep(after)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // a TCP connection can
	n, err := io.Copy(io.Discard, conn)                        // what is in the system's buffers still comes
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the connection is open after %v and %d bytes", name, after, n)
	}
	return n
}

// TestSlowClients lets many clients send or take too slowly. They are ended, the others are served meanwhile, and the node keeps nothing of them.
func TestSlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the node's patience to end; runs without -short")
	}
	n := cluster.Start(t, cluster.Options{Name: "kinesis", Nodes: 1}).Nodes[0]
	c := sdk(n, nil)
	consumer := pushStream(t, c, "s", "reader")
	// A connection's buffers hold several MB of what nobody takes: one record is more.
	const volume, records = 64 << 20, 8
	const patience = 36 * time.Second // more than a node's
	if _, err := c.UpdateMaxRecordSize(t.Context(), &kinesis.UpdateMaxRecordSizeInput{StreamARN: aws.String(arnOf("s")), MaxRecordSizeInKiB: aws.Int32(10 << 10)}); err != nil {
		t.Fatal(err)
	}
	for range records {
		if _, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: make([]byte, volume/records)}); err != nil {
			t.Fatal(err)
		}
	}
	it, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String("0"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	before := resources(t, n)
	var all sync.WaitGroup
	for _, s := range slowClients {
		all.Go(func() { s.run(t, n.Kinesis) })
	}
	get := request("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, *it.ShardIterator))
	subscribe := request("SubscribeToShard", fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":"0","StartingPosition":{"Type":"TRIM_HORIZON"}}`, consumer))
	for range 20 {
		all.Go(func() {
			if got := unread(t, "unread GetRecords", n.Kinesis, get, patience); got > volume/records {
				t.Errorf("an answer that was not taken came after all: %d bytes", got)
			}
		})
	}
	all.Go(func() {
		if got := unread(t, "unread SubscribeToShard", n.Kinesis, subscribe, patience); got > volume/2 {
			t.Errorf("events that were not taken came after all: %d bytes", got)
		}
	})
	longest := map[string]time.Duration{}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for what, call := range map[string]func() error{
			"small put": func() error {
				_, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("x")})
				return err
			},
			"description": func() error {
				_, err := c.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
				return err
			},
		} {
			began := time.Now()
			if err := call(); err != nil {
				t.Errorf("%s among slow clients: %v", what, err)
			}
			longest[what] = max(longest[what], time.Since(began))
		}
	}
	all.Wait()
	fmt.Printf("among slow clients, calls took at most %v; resources before %v, peak memory %d MiB\n", longest, before, peakMemory(t, n)>>20)
	for what, took := range longest {
		if took > 5*time.Second {
			t.Errorf("a %s took %v", what, took)
		}
	}
	awaitResources(t, n, before)
}

// awaitResources waits until a node has no more goroutines and descriptors than before, but for a few.
func awaitResources(t *testing.T, n *cluster.Node, before [2]int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		after := resources(t, n)
		if after[0] <= before[0]+50 && after[1] <= before[1]+20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines and descriptors were %v and are %v", before, after)
		}
	}
}

// peakMemory returns the most memory in bytes that a node's process has had, 0 where the system does not tell.
func peakMemory(t *testing.T, n *cluster.Node) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}

// TestBodiesBeyondMemory sends bodies of 1.3 GB at a time. A node takes them in turn, and those for which there is no room are told to come again.
func TestBodiesBeyondMemory(t *testing.T) {
	n := cluster.Start(t, cluster.Options{Name: "kinesis", Nodes: 1}).Nodes[0]
	const senders, perSender, memoryMax = 96, 2, 800 << 20
	// Nothing is stored: there is no such stream, which shows after the body has been read.
	body := `{"StreamName":"nowhere","Records":[` + strings.TrimSuffix(strings.Repeat(`{"PartitionKey":"k","Data":"`+strings.Repeat("QUFB", 6900)+`"},`, 500), ",") + `]}`
	var mu sync.Mutex
	answers := map[string]int{}
	var all sync.WaitGroup
	began := time.Now()
	for range senders {
		all.Go(func() {
			for range perSender {
				how := "connection ended" // as it may for who still sends when the answer comes
				if resp, err := post(n.Kinesis, "PutRecords", body); err == nil {
					how = resp.Header.Get("X-Amzn-Errortype")
					if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode == http.StatusOK {
						t.Errorf("an answer: %d, %v", resp.StatusCode, err)
					}
					resp.Body.Close()
				}
				mu.Lock()
				answers[how]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	peak := peakMemory(t, n)
	fmt.Printf("%d bodies of %d bytes from %d senders within %v: %v; peak memory %d MiB\n", senders*perSender, len(body), senders, time.Since(began).Round(time.Millisecond), answers, peak>>20)
	if answers["ResourceNotFoundException"] == 0 {
		t.Error("no body was taken")
	}
	for how := range answers {
		if how != "ResourceNotFoundException" && how != "ServiceUnavailableException" && how != "connection ended" {
			t.Errorf("an answer is %s", how)
		}
	}
	if peak > memoryMax {
		t.Errorf("the node took %d MiB", peak>>20)
	}
}

// TestTooManyConnections opens more connections than a node takes. Those beyond are closed, and the next one is taken when others have gone.
func TestTooManyConnections(t *testing.T) {
	const most = 64
	n := cluster.Start(t, cluster.Options{Name: "kinesis", Nodes: 1, Tuning: cluster.Tuning{Extra: map[string][]string{"limits": {"shutdown_timeout: 5s", fmt.Sprintf("connections_max: %d", most)}}}}).Nodes[0]
	ask := func(conn net.Conn) error {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // a TCP connection can
		if _, err := io.WriteString(conn, request("ListStreams", "{}")); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	var conns []net.Conn
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", n.Kinesis)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for i := range most {
		conns = append(conns, dial())
		if err := ask(conns[i]); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if err := ask(dial()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection too many: %v", err)
	}
	if err := ask(conns[0]); err != nil {
		t.Errorf("a connection that was there before: %v", err)
	}
	conns[1].Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := ask(dial()); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("with room again: %v", err)
		}
	}
}
