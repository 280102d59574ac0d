package kinesis

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// selfSigned writes a certificate for the loopback address, and its key, and returns what of a node's configuration names them.
func selfSigned(t *testing.T) (pool *x509.CertPool, lines []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, secret := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	if err := os.WriteFile(cert, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, []string{"cert: " + cert, "key: " + secret, "kinesis: true"}
}

// wire is a way to reach a node. What it is asked to be and what it was are not always the same: it keeps the latter.
type wire struct {
	name, stream string
	scheme       string
	encrypted    bool
	transport    *http.Transport
	proto        string // what answers have to come by, and what was negotiated for it

	mu   sync.Mutex
	seen map[string]int // protocols of answers
}

// RoundTrip notes what an answer comes by.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	got, err := w.transport.RoundTrip(r)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		what := got.Proto
		if got.TLS != nil {
			what = strings.TrimSpace(what + " " + got.TLS.NegotiatedProtocol)
		}
		w.seen[what]++
	}
	return got, err
}

func protocols(http1, http2, prior bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(http1)
	p.SetHTTP2(http2)
	p.SetUnencryptedHTTP2(prior)
	return p
}

// encrypts returns a dialer whose connections are encrypted without a word about what is spoken on them, in which the transport takes no part.
func encrypts(config *tls.Config, silent *silence) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		silent.note(conn.(*tls.Conn).ConnectionState().NegotiatedProtocol)
		return conn, nil
	}
}

// silence counts connections, and keeps the protocol that one of them negotiated although nothing was said.
type silence struct {
	mu     sync.Mutex
	conns  int
	broken string
}

func (s *silence) note(negotiated string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	if negotiated != "" {
		s.broken = negotiated
	}
}

// TestTransports puts, gets and subscribes over every kind of connection that clients make: with TLS and without, HTTP/1.1 and HTTP/2, which was
// negotiated or is known beforehand.
func TestTransports(t *testing.T) {
	pool, lines := selfSigned(t)
	plain := cluster.Start(t, cluster.Options{Nodes: 1, Name: "plain"}).Nodes[0]
	secure := cluster.Start(t, cluster.Options{Nodes: 1, Name: "secure", Tuning: cluster.Tuning{Extra: map[string][]string{"tls": lines}}}).Nodes[0]
	trust := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	var silentH2, silentH1 silence
	for _, w := range []*wire{
		{name: "HTTP 1.1 without TLS", stream: "plain-1", scheme: "http", proto: "HTTP/1.1", transport: &http.Transport{Protocols: protocols(true, false, false)}},
		{name: "HTTP 2 without TLS, known beforehand", stream: "plain-2", scheme: "http", proto: "HTTP/2.0", transport: &http.Transport{Protocols: protocols(false, false, true)}},
		{name: "HTTP 1.1 over TLS, negotiated", stream: "secure-1", scheme: "https", encrypted: true, proto: "HTTP/1.1 http/1.1", transport: &http.Transport{
			Protocols: protocols(true, false, false), TLSClientConfig: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}},
		}},
		{name: "HTTP 1.1 over TLS 1.2", stream: "secure-1-old", scheme: "https", encrypted: true, proto: "HTTP/1.1 http/1.1", transport: &http.Transport{
			Protocols: protocols(true, false, false), TLSClientConfig: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}, MaxVersion: tls.VersionTLS12},
		}},
		{name: "HTTP 1.1 over TLS, not negotiated", stream: "secure-1-silent", scheme: "http", encrypted: true, proto: "HTTP/1.1", transport: &http.Transport{
			Protocols: protocols(true, false, false), DialContext: encrypts(trust, &silentH1),
		}},
		{name: "HTTP 2 over TLS, negotiated", stream: "secure-2", scheme: "https", encrypted: true, proto: "HTTP/2.0 h2", transport: &http.Transport{
			Protocols: protocols(true, true, false), TLSClientConfig: trust.Clone(),
		}},
		{name: "HTTP 2 over TLS, not negotiated", stream: "secure-2-silent", scheme: "http", encrypted: true, proto: "HTTP/2.0", transport: &http.Transport{
			Protocols: protocols(false, false, true), DialContext: encrypts(trust, &silentH2),
		}},
	} {
		t.Run(w.name, func(t *testing.T) {
			w.seen = map[string]int{}
			defer w.transport.CloseIdleConnections()
			node := plain
			if w.encrypted {
				node = secure
			}
			c := sdk(node, nil, func(o *kinesis.Options) {
				o.BaseEndpoint, o.HTTPClient = aws.String(w.scheme+"://"+node.Kinesis), &http.Client{Transport: w}
			})
			overTheWire(t, c, w.stream)
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.seen) != 1 || w.seen[w.proto] == 0 {
				t.Errorf("answers came by %v, want %s", w.seen, w.proto)
			}
			t.Logf("%d answers by %s", w.seen[w.proto], w.proto)
		})
	}
	for name, s := range map[string]*silence{"HTTP 1.1": &silentH1, "HTTP 2": &silentH2} {
		if s.conns == 0 || s.broken != "" {
			t.Errorf("%s: %d connections, and %q was negotiated", name, s.conns, s.broken)
		}
	}
	t.Run("without TLS where there is TLS", func(t *testing.T) {
		c := sdk(secure, nil, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
		if out, err := c.ListStreams(t.Context(), &kinesis.ListStreamsInput{}); err == nil {
			t.Errorf("answered with %+v", out)
		}
	})
}

// overTheWire makes a stream, puts a record larger than a packet, and gets it in both ways.
func overTheWire(t *testing.T, c *kinesis.Client, stream string) {
	t.Helper()
	consumer := pushStream(t, c, stream, "reader")
	data := make([]byte, 300<<10)
	_, _ = rand.Read(data)
	put, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("key"), Data: data})
	if err != nil {
		t.Fatal(err)
	}
	records, _, err := readAll(t.Context(), c, stream, *put.ShardId)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	subscribed, err := c.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &consumer, ShardId: put.ShardId, StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	})
	if err != nil {
		t.Fatal(err)
	}
	pushed := subscribed.GetStream()
	defer pushed.Close()
	for event := range pushed.Events() {
		if e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok && len(e.Value.Records) > 0 {
			records = append(records, e.Value.Records...)
			break
		}
	}
	if len(records) != 2 {
		t.Fatalf("%d records, want the same one twice; %v", len(records), pushed.Err())
	}
	for _, r := range records {
		if *r.SequenceNumber != *put.SequenceNumber || !bytes.Equal(r.Data, data) {
			t.Errorf("got record %s with %d bytes, want %s", *r.SequenceNumber, len(r.Data), *put.SequenceNumber)
		}
	}
}
