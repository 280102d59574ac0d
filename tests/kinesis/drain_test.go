package kinesis

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// stopMax bounds an orderly stop of a node.
const stopMax = 10 * time.Second

// TestStopUnderTheSDK stops nodes in order, one after another, behind a load balancer, as an update of the cluster does.
func TestStopUnderTheSDK(t *testing.T) {
	if testing.Short() {
		t.Skip("stops nodes for a while; runs without -short")
	}
	c := start(t)
	f, nodes := launchBefore(t, c, "stops", true)
	for _, n := range nodes {
		time.Sleep(faultEvery)
		before := f.count()
		if code, err := n.Stop(stopMax); code != 0 || err != nil {
			t.Errorf("%s ended with code %d: %v", n.Name, code, err)
		}
		f.awaitProgress(before)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		awaitHealthy(t, c)
	}
	f.land()
	f.checkPauses(resumeMax)
	for how := range f.broken {
		if how != "in order" && !strings.HasPrefix(how, "refused") {
			t.Errorf("a subscription ended: %s", how)
		}
	}
}

// request returns a request as it travels over HTTP/1.1.
func request(operation, body string, headers ...string) string {
	more := ""
	for _, h := range headers {
		more += h + "\r\n"
	}
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Kinesis_20131202.%s\r\nContent-Type: application/x-amz-json-1.1\r\n%sContent-Length: %d\r\n\r\n%s", operation, more, len(body), body)
}

// outcomes are what became of requests that carried one record each, without any retries.
type outcomes struct {
	mu         sync.Mutex
	stored     map[string]bool // what was acknowledged
	unanswered map[string]bool // what was sent on a connection that ended without an answer
	refused    map[string]bool // what was sent where nobody listened, or accepted
	how        map[string]int
}

func (o *outcomes) note(how string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.how[how]++
}

// putBody is the body of a PutRecord.
func putBody(stream, data string) string {
	return fmt.Sprintf(`{"StreamName":%q,"PartitionKey":%q,"Data":%q}`, stream, data, base64.StdEncoding.EncodeToString([]byte(data)))
}

// keepPutting puts records over one connection until it ends.
func (o *outcomes) keepPutting(t *testing.T, address, stream string, number int) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := 0; ; i++ {
		data := fmt.Sprintf("c%d-%d", number, i)
		if _, err := io.WriteString(conn, request("PutRecord", putBody(stream, data))); err != nil {
			o.note("connection ended between requests")
			return
		}
		if _, err := in.Peek(1); err != nil {
			o.note("connection ended before an answer")
			o.mu.Lock()
			o.unanswered[data] = true
			o.mu.Unlock()
			return
		}
		resp, err := http.ReadResponse(in, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		if err != nil {
			t.Errorf("an answer was cut: %v", err)
			return
		}
		o.answer(t, data, resp.StatusCode)
		if resp.Close {
			o.note("the end was announced")
			return
		}
	}
}

// answer notes an answer.
func (o *outcomes) answer(t *testing.T, data string, status int) {
	switch status {
	case http.StatusOK:
		o.mu.Lock()
		o.stored[data] = true
		o.mu.Unlock()
	case http.StatusServiceUnavailable:
		o.note("503")
	default:
		t.Errorf("a put was answered with status %d", status)
	}
}

// overHTTP2 puts records over a shared connection of HTTP/2 until there is none.
func (o *outcomes) overHTTP2(t *testing.T, c *http.Client, address, stream string, number int) {
	for i := 0; ; i++ {
		data := fmt.Sprintf("h%d-%d", number, i)
		req, err := http.NewRequest(http.MethodPost, "http://"+address+"/", strings.NewReader(putBody(stream, data)))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecord")
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		resp, err := c.Do(req)
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errNotAccepted) {
			o.note("HTTP/2: connection refused")
			o.mu.Lock()
			o.refused[data] = true
			o.mu.Unlock()
			return
		}
		if err == nil {
			if resp.ProtoMajor != 2 {
				t.Errorf("the protocol is %s", resp.Proto)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if err != nil {
			t.Errorf("a request over HTTP/2 was cut: %v", err)
			return
		}
		o.answer(t, data, resp.StatusCode)
	}
}

// http2Client returns a client that speaks HTTP/2 from the first byte.
func http2Client() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &newConn{Conn: conn}, nil
	}
	return &http.Client{Transport: &http.Transport{Protocols: protocols, DialContext: dial}}
}

// errNotAccepted says that a connection was reset before the server had sent its first byte. The kernel does that to
// connections that wait to be accepted when a listener closes: to the client they look open until then.
var errNotAccepted = errors.New("the connection was never accepted")

// newConn tells a connection that the server has never accepted from one that it cut.
type newConn struct {
	net.Conn
	received atomic.Int64
}

func (c *newConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	return n, c.judge(err)
}

func (c *newConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.judge(err)
}

func (c *newConn) judge(err error) error {
	if c.received.Load() == 0 && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		return errNotAccepted
	}
	return err
}

// TestStopAnswersWhatIsUnderWay stops a node with SIGTERM while it has requests: each is answered, and connections end between answers.
func TestStopAnswersWhatIsUnderWay(t *testing.T) {
	c := start(t)
	admin, leaving := sdk(c.Nodes[0], nil), c.Nodes[2]
	create(t, admin, "busy", 2)
	consumer := pushStream(t, admin, "idle", "reader")
	if _, err := sdk(leaving, nil).DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{ConsumerARN: &consumer}); err != nil {
		t.Fatal(err)
	}
	sub, err := sdk(leaving, nil).SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{
		ConsumerARN: &consumer, ShardId: aws.String("0"), StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.GetStream().Close()
	o := &outcomes{stored: map[string]bool{}, unanswered: map[string]bool{}, refused: map[string]bool{}, how: map[string]int{}}
	var clients sync.WaitGroup
	const connections = 8
	h2 := http2Client()
	for i := range connections {
		clients.Go(func() { o.keepPutting(t, leaving.Kinesis, "busy", i) })
		clients.Go(func() { o.overHTTP2(t, h2, leaving.Kinesis, "busy", i) })
	}
	waited := make(chan string, 1)
	clients.Go(func() { waited <- longPoll(t, leaving, "idle") })
	time.Sleep(time.Second)
	began := time.Now()
	if code, err := leaving.Stop(stopMax); code != 0 || err != nil {
		t.Errorf("the node ended with code %d: %v", code, err)
	}
	took := time.Since(began)
	clients.Wait()
	for range sub.GetStream().Events() {
	}
	if err := sub.GetStream().Err(); err != nil {
		t.Errorf("the subscription ended with %v", err)
	}
	answer := <-waited
	seen, late := storedIn(t, admin, "busy"), 0
	for data := range o.unanswered {
		late += seen[data]
	}
	fmt.Printf("a node stopped within %v: %d puts answered, %d not, of which %d are stored; %v; a read that waited: %s\n",
		took.Round(time.Millisecond), len(o.stored), len(o.unanswered), late, o.how, answer)
	if len(o.unanswered) > 0 {
		t.Error("connections were closed under requests though there was time to announce it")
	}
	if len(o.stored) < 100 || o.how["HTTP/2: connection refused"] != connections {
		t.Error("the run shows nothing")
	}
	if answer != "503" {
		t.Errorf("a read that waited was answered with %s", answer)
	}
	for data := range o.stored {
		if seen[data] == 0 {
			t.Errorf("%s was acknowledged and is not there", data)
		}
	}
	for data := range o.refused {
		if seen[data] > 0 {
			t.Errorf("%s went to a connection that nobody accepted, and is there", data)
		}
	}
}

// longPoll waits for records that do not come, and returns how that was answered.
func longPoll(t *testing.T, n *cluster.Node, stream string) string {
	it, err := sdk(n, nil).GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: aws.String("0"), ShardIteratorType: types.ShardIteratorTypeLatest})
	if err != nil {
		return err.Error()
	}
	conn, err := net.Dial("tcp", n.Kinesis)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, *it.ShardIterator), "X-Levada-Wait-Ms: 20000")); err != nil {
		return err.Error()
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(resp.StatusCode)
}

// storedIn returns how often each record's data are in a stream.
func storedIn(t *testing.T, c *kinesis.Client, stream string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, sh := range openShards(t, c, stream) {
		records, _, err := readAll(t.Context(), c, stream, *sh.ShardId)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			seen[string(r.Data)]++
		}
	}
	return seen
}

// TestStopWithoutTheOthers stops a node that cannot store what it was given: whoever waits for that is told so, and not left with a broken connection.
func TestStopWithoutTheOthers(t *testing.T) {
	c := start(t)
	last := c.Nodes[2]
	create(t, sdk(last, nil), "s", 2)
	for _, n := range c.Nodes[:2] {
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	type answered struct {
		status int
		body   string
		err    error
	}
	put := func(operation, body string) chan answered {
		out := make(chan answered, 1)
		go func() {
			resp, err := post(last.Kinesis, operation, body)
			if err != nil {
				out <- answered{err: err}
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			out <- answered{resp.StatusCode, string(text), err}
		}()
		return out
	}
	one := put("PutRecord", putBody("s", "one"))
	many := put("PutRecords", `{"StreamName":"s","Records":[{"PartitionKey":"a","Data":"YQ=="},{"PartitionKey":"b","Data":"Yg=="}]}`)
	time.Sleep(500 * time.Millisecond)
	began := time.Now()
	code, err := last.Stop(stopMax)
	if code != 0 || err != nil {
		t.Errorf("the node ended with code %d: %v", code, err)
	}
	took := time.Since(began).Round(time.Millisecond)
	a, b := <-one, <-many
	fmt.Printf("a node alone stopped within %v; PutRecord: %d %s; PutRecords: %d %s\n", took, a.status, a.body, b.status, b.body)
	if a.err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("PutRecord: %+v", a)
	}
	var result struct {
		FailedRecordCount int
		Records           []struct{ ErrorCode string }
	}
	if b.err != nil || b.status == http.StatusOK && (json.Unmarshal([]byte(b.body), &result) != nil || result.FailedRecordCount != 2 || result.Records[0].ErrorCode != "InternalFailure") || b.status != http.StatusOK && b.status != http.StatusServiceUnavailable {
		t.Errorf("PutRecords: %+v", b)
	}
}

// post sends a request without any retries.
func post(address, operation, body string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, http.Header{"X-Amz-Target": {"Kinesis_20131202." + operation}, "Content-Type": {"application/x-amz-json-1.1"}})
	return (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
}
