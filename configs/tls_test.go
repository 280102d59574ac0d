package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue writes ca.pem, cert.pem and key.pem of a new certificate into dir.
func (a authority) issue(t *testing.T, dir, name string) TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientAuth: "none"}
	for path, content := range map[string][]byte{
		files.CA:   a.pem,
		files.Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		files.Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func load(t *testing.T, files TLS, onError func(error)) *Certificates {
	t.Helper()
	c, err := files.LoadCertificates(onError)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// handshake connects client and server over loopback and returns the name that the
// server's certificate carried, or the first error of either side.
func handshake(t *testing.T, client, server *tls.Config) (string, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	limit := time.Now().Add(10 * time.Second)
	served := make(chan error, 1)
	go func() {
		raw, err := listener.Accept()
		if err == nil {
			defer raw.Close()
			_ = raw.SetDeadline(limit)
			_, err = tls.Server(raw, server).Write([]byte("x")) // the client learns here that its certificate was refused
		}
		served <- err
	}()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.SetDeadline(limit)
	conn := tls.Client(raw, client)
	_, err = conn.Read(make([]byte, 1))
	raw.Close()
	if err = errors.Join(err, <-served); err != nil {
		return "", err
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestHandshakes(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	node := load(t, ours.issue(t, t.TempDir(), "node-a"), nil)
	peer := load(t, ours.issue(t, t.TempDir(), "node-b"), nil)
	stranger := load(t, theirs.issue(t, t.TempDir(), "node-a"), nil)
	authorityOnly := ours.issue(t, t.TempDir(), "unused")
	anonymous := load(t, TLS{CA: authorityOnly.CA}, nil)
	strict := ours.issue(t, t.TempDir(), "node-a")
	strict.ClientAuth = "require"
	strictNode := load(t, strict, nil)
	for _, tc := range []struct {
		name           string
		client, server *tls.Config
		ok             bool
	}{
		{"peers", peer.Client("node-a"), node.Peers(), true},
		{"peer of another authority", stranger.Client("node-a"), node.Peers(), false},
		{"peer without certificate", anonymous.Client("node-a"), node.Peers(), false},
		{"wrong name", peer.Client("node-c"), node.Peers(), false},
		{"client without certificate", anonymous.Client("node-a"), node.Server(), true},
		{"client without certificate where one is required", anonymous.Client("node-a"), strictNode.Server(), false},
		{"client with certificate where one is required", peer.Client("node-a"), strictNode.Server(), true},
		{"server of another authority", anonymous.Client("node-a"), stranger.Server(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := handshake(t, tc.client, tc.server); (err == nil) != tc.ok {
				t.Errorf("handshake error %v, want success %t", err, tc.ok)
			}
		})
	}
}

func TestCertificatesReload(t *testing.T) {
	dir := t.TempDir()
	first, second := newAuthority(t), newAuthority(t)
	files := first.issue(t, dir, "before")
	var faults []error
	c := load(t, files, func(err error) { faults = append(faults, err) })
	clock := time.Now()
	c.now = func() time.Time { return clock }
	server := c.Server()

	clientOf := func(a authority, name string) *tls.Config {
		pool := x509.NewCertPool()
		pool.AddCert(a.certificate)
		return &tls.Config{RootCAs: pool, ServerName: name}
	}
	if name, err := handshake(t, clientOf(first, "before"), server); err != nil || name != "before" {
		t.Fatalf("before the change: %q, %v", name, err)
	}
	second.issue(t, dir, "after-the-change")
	if _, err := handshake(t, clientOf(first, "before"), server); err != nil {
		t.Fatalf("the files were read again before the interval was over: %v", err)
	}
	clock = clock.Add(2 * recheckInterval)
	if name, err := handshake(t, clientOf(second, "after-the-change"), server); err != nil || name != "after-the-change" {
		t.Fatalf("after the change: %q, %v", name, err)
	}
	if err := os.WriteFile(files.Cert, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		clock = clock.Add(2 * recheckInterval)
		if _, err := handshake(t, clientOf(second, "after-the-change"), server); err != nil {
			t.Fatalf("a bad file ended the use of the last good one: %v", err)
		}
	}
	if len(faults) != 1 {
		t.Errorf("one bad file was reported %d times: %v", len(faults), faults)
	}
}

func TestBadCertificateFiles(t *testing.T) {
	good := newAuthority(t).issue(t, t.TempDir(), "x")
	for _, files := range []TLS{
		{Cert: good.Cert},
		{Cert: good.Key, Key: good.Cert},
		{CA: good.CA + ".absent"},
		{CA: good.Key},
	} {
		if _, err := files.LoadCertificates(nil); err == nil {
			t.Errorf("%+v is accepted", files)
		}
	}
}
