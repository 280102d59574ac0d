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

// startCluster runs nodes in this process until the test ends, and returns where they serve.
func startCluster(t *testing.T, n int, change func(*configs.Config)) []Info {
	t.Helper()
	ports := freePorts(t, 4*n)
	ctx, cancel := context.WithCancel(context.Background())
	infos, ended := make(chan Info, n), make(chan error, n)
	for i := range n {
		cfg := configs.Defaults()
		cfg.Cluster.Name, cfg.Cluster.ExpectNodes = "test", n
		cfg.Node.Name, cfg.Node.DataDir = fmt.Sprintf("node%d", i+1), t.TempDir()
		cfg.Listen = configs.Addresses{GRPC: ports[4*i], Raft: ports[4*i+1], Gossip: ports[4*i+2], HTTP: ports[4*i+3]}
		cfg.Seeds = []string{ports[2]}
		cfg.Storage.JournalSegmentBytes = 16 * configs.MiB
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- Run(ctx, cfg, hclog.NewNullLogger(), func(i Info) { infos <- i }) }()
	}
	t.Cleanup(func() {
		cancel()
		for range n {
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("a node ended with %v", err)
				}
			case <-time.After(patience):
				t.Fatal("a node does not end")
			}
		}
	})
	var all []Info
	for range n {
		select {
		case i := <-infos:
			all = append(all, i)
		case err := <-ended:
			t.Fatalf("a node ended before it served: %v", err)
		case <-time.After(patience):
			t.Fatal("the nodes do not serve in time")
		}
	}
	return all
}

func TestClusterWithTLSEverywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes; runs without -short")
	}
	files := issueCertificates(t)
	infos := startCluster(t, 3, func(c *configs.Config) {
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
	infos := startCluster(t, 1, func(*configs.Config) {})
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
