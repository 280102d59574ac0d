package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/vfs"
)

// patience bounds every wait of these tests.
const patience = 60 * time.Second

// issueCertificates writes an authority and one certificate for loopback, and returns the files.
func issueCertificates(t *testing.T) configs.TLS {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	check(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	check(err)
	return configs.TLS{
		CA: write("ca.pem", "CERTIFICATE", caDER), Cert: write("cert.pem", "CERTIFICATE", der), Key: write("key.pem", "EC PRIVATE KEY", keyDER),
		ClientAuth: "require", GRPC: true, Raft: true, HTTP: true,
	}
}

// freePorts returns addresses that were free a moment ago.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// testNode is a node that runs in this process.
type testNode struct {
	cfg   configs.Config
	node  *Node      // of the latest start
	disk  *vfs.Fault // of the same
	stop  context.CancelFunc
	ended chan error
}

// start runs the node until it serves.
func (n *testNode) start(t *testing.T) Info {
	t.Helper()
	return <-n.begin(t)
}

// begin runs the node and returns where it will tell that it serves.
func (n *testNode) begin(t *testing.T) <-chan Info {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n.stop, n.ended = cancel, make(chan error, 1)
	var err error
	if n.node, err = newNode(n.cfg, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	n.disk = vfs.NewFault(n.node.fs)
	n.node.fs = n.disk
	ended, serves := n.ended, make(chan Info, 1)
	go func() {
		err := n.node.serve(ctx, func(i Info) { serves <- i })
		if err != nil {
			t.Errorf("node %s ended with %v", n.cfg.Node.Name, err)
			close(serves)
		}
		ended <- err
		close(ended)
	}()
	return serves
}

// end stops the node and waits for it.
func (n *testNode) end(t *testing.T) {
	t.Helper()
	n.stop()
	select {
	case <-n.ended:
	case <-time.After(patience):
		t.Fatalf("node %s does not end", n.cfg.Node.Name)
	}
}

// nodeConfig is the configuration of a node with an empty directory and four ports.
func nodeConfig(t *testing.T, name string, ports []string, seed string) configs.Config {
	t.Helper()
	cfg := configs.Defaults()
	cfg.Cluster.Name, cfg.Node.Name, cfg.Node.DataDir = "test", name, t.TempDir()
	cfg.Listen = configs.Addresses{GRPC: ports[0], Raft: ports[1], Gossip: ports[2], HTTP: ports[3]}
	cfg.Kinesis.Listen = "" // tests of that API have nodes of their own
	cfg.Seeds = []string{seed}
	cfg.Storage.JournalSegmentBytes = 16 * configs.MiB
	return cfg
}

// startCluster runs nodes in this process until the test ends, and returns them and where they serve.
func startCluster(t *testing.T, n int, change func(*configs.Config)) ([]*testNode, []Info) {
	t.Helper()
	ports := freePorts(t, 4*n)
	nodes := make([]*testNode, n)
	var serve []<-chan Info
	for i := range nodes {
		cfg := nodeConfig(t, fmt.Sprintf("node%d", i+1), ports[4*i:], ports[2])
		cfg.Cluster.ExpectNodes = n
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		nodes[i] = &testNode{cfg: cfg}
		serve = append(serve, nodes[i].begin(t))
	}
	t.Cleanup(func() {
		for _, node := range nodes {
			node.end(t)
		}
	})
	infos := make([]Info, n)
	for i, s := range serve {
		select {
		case infos[i] = <-s:
		case <-time.After(patience):
			t.Fatal("the nodes do not serve in time")
		}
	}
	return nodes, infos
}

// TestRestartKeepsReplicas: between a start and the registration a node has an
// old copy of the control state, of which its last snapshot may be older than
// the node itself. Nothing may be deleted on its word.
func TestRestartKeepsReplicas(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts a node of three; runs without -short")
	}
	nodes, infos := startCluster(t, 3, func(c *configs.Config) { c.Raft.SnapshotEntries = 64 })
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	putAndRead(ctx, t, c, 500)
	for i := range 100 { // so that the control state is in a snapshot without the node that comes
		b := int64(1<<30 + i)
		if _, err := c.UpdateStream(ctx, "s", client.StreamChange{RetentionBytes: &b}); err != nil {
			t.Fatal(err)
		}
	}
	wiped := nodes[2]
	wiped.end(t)
	if err := os.RemoveAll(wiped.cfg.Node.DataDir); err != nil {
		t.Fatal(err)
	}
	wiped.start(t)
	awaitHealthy(ctx, t, c)
	markers := markReplicas(t, wiped.cfg.Node.DataDir)
	for range 2 {
		wiped.end(t)
		wiped.start(t)
		awaitHealthy(ctx, t, c)
		for _, m := range markers {
			if _, err := os.Stat(m); err != nil {
				t.Fatalf("a restart deleted a replica: %v", err)
			}
		}
	}
}

// markReplicas puts a file beside the log of each replica, and returns their names.
func markReplicas(t *testing.T, dataDir string) []string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dataDir, "groups", "*", "log"))
	if err != nil || len(logs) != 4 {
		t.Fatalf("replicas on disk: %v, %v, want 4", logs, err)
	}
	var markers []string
	for _, l := range logs {
		m := filepath.Join(filepath.Dir(l), "marker")
		if err := os.WriteFile(m, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		markers = append(markers, m)
	}
	return markers
}

func awaitHealthy(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	await(ctx, t, func() error {
		state, err := c.Cluster(ctx, 0)
		if err == nil && !state.GetHealthy() {
			err = fmt.Errorf("not healthy: %v", state.GetProblems())
		}
		return err
	})
}

// await asks until the answer is nil, and fails the test with the last answer when ctx ends.
func await(ctx context.Context, t *testing.T, ask func() error) {
	t.Helper()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func TestClusterWithTLSEverywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes; runs without -short")
	}
	files := issueCertificates(t)
	_, infos := startCluster(t, 3, func(c *configs.Config) {
		c.TLS = files
		c.Cluster.SecretKey = "MDEyMzQ1Njc4OWFiY2RlZg=="
	})
	certificates, err := files.LoadCertificates(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC}, client.WithTLS(certificates.Client("127.0.0.1")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const records = 2000
	putAndRead(ctx, t, c, records)

	shortCtx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if plain, err := client.Dial(shortCtx, []string{infos[0].GRPC}); err == nil {
		if _, err := plain.ListStreams(shortCtx); err == nil {
			t.Error("a client without TLS is served")
		}
		plain.Close()
	}
	bare := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{TLSClientConfig: certificates.Client("127.0.0.1")}}
	resp, err := bare.Get("https://" + infos[0].HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "levada_records_total") {
		t.Errorf("metrics over TLS: %v, %d bytes without levada_records_total", err, len(body))
	}
}

// putAndRead writes numbered records with few keys and checks that reading gives
// each once, in order per key.
func putAndRead(ctx context.Context, t *testing.T, c *client.Client, records int) {
	t.Helper()
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 4}, true); err != nil {
		t.Fatal(err)
	}
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, records)
	for i := range records {
		rec := client.Record{PartitionKey: fmt.Sprintf("key-%d", i%7), Data: []byte(fmt.Sprint(i))}
		if err := p.PutFunc(ctx, rec, func(r client.Result) { failed <- r.Err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for range records {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	r := c.ReadStream(ctx, "s", client.ReadOptions{})
	defer r.Close()
	last, seen := map[string]int{}, 0
	for {
		rec, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if _, err := fmt.Sscan(string(rec.Data), &i); err != nil {
			t.Fatal(err)
		}
		before, ok := last[rec.PartitionKey]
		if (ok && i != before+7) || (!ok && i >= 7) {
			t.Fatalf("key %s: record %d after %d", rec.PartitionKey, i, before)
		}
		last[rec.PartitionKey] = i
		seen++
	}
	if seen != records {
		t.Fatalf("read %d records, want %d", seen, records)
	}
}

func TestSingleNodeCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a node; runs without -short")
	}
	_, infos := startCluster(t, 1, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	putAndRead(ctx, t, c, 500)
	st, err := c.DescribeStream(ctx, "s")
	if err != nil {
		t.Fatal(err)
	}
	if st.GetSettings().GetReplicas() != 1 || !strings.Contains(st.GetDurability(), "one replica") {
		t.Errorf("a stream on one node says %d replicas, %q", st.GetSettings().GetReplicas(), st.GetDurability())
	}
	large := client.Record{PartitionKey: "large", Data: make([]byte, 3<<19)}
	if _, err := c.Put(ctx, "s", large); !client.IsTooLarge(err) {
		t.Errorf("a record of 1.5 MiB into a stream of 1 MiB: %v, want too large", err)
	}
	most := uint32(2 << 20)
	if _, err := c.UpdateStream(ctx, "s", client.StreamChange{MaxRecordBytes: &most}); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil { // the node carries a change out shortly after it is known
		if _, err = c.Put(ctx, "s", large); err == nil {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	if err != nil {
		t.Errorf("after the limit was raised: %v", err)
	}
}
