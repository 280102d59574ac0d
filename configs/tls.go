package configs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// recheckInterval bounds how often handshakes look whether the files changed.
const recheckInterval = time.Second

// Certificates are the TLS files of one node or client, read again when they
// change. A changed file that cannot be used leaves the last good ones in use
// and is reported once. All methods are safe for concurrent use.
type Certificates struct {
	settings TLS
	onError  func(error) // immutable; called when a reload fails
	now      func() time.Time

	mu      sync.Mutex
	checked time.Time   // guarded by mu: when the files were last looked at
	stamps  [3]stamp    // guarded by mu: of the files that loaded is from, or that failed
	loaded  certificate // guarded by mu: the last good ones
}

// certificate is what the files held at one moment.
type certificate struct {
	own  *tls.Certificate // nil: none configured
	pool *x509.CertPool   // nil: the system's
}

// stamp tells two versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

// LoadCertificates reads the files that t names. onError, which may be nil,
// hears of later reloads that fail.
func (t TLS) LoadCertificates(onError func(error)) (*Certificates, error) {
	c := &Certificates{settings: t, onError: onError, now: time.Now}
	c.stamps = c.stat()
	loaded, err := c.read()
	if err != nil {
		return nil, err
	}
	c.loaded, c.checked = loaded, c.now()
	return c, nil
}

func (c *Certificates) stat() (s [3]stamp) {
	for i, name := range []string{c.settings.CA, c.settings.Cert, c.settings.Key} {
		if name != "" {
			s[i] = stampOf(name)
		}
	}
	return s
}

func (c *Certificates) read() (certificate, error) {
	var loaded certificate
	if c.settings.Cert != "" || c.settings.Key != "" {
		own, err := tls.LoadX509KeyPair(c.settings.Cert, c.settings.Key)
		if err != nil {
			return certificate{}, fmt.Errorf("tls.cert and tls.key: %w", err)
		}
		loaded.own = &own
	}
	if c.settings.CA != "" {
		text, err := os.ReadFile(c.settings.CA)
		if err != nil {
			return certificate{}, fmt.Errorf("tls.ca: %w", err)
		}
		loaded.pool = x509.NewCertPool()
		if !loaded.pool.AppendCertsFromPEM(text) {
			return certificate{}, fmt.Errorf("tls.ca: %s holds no certificate", c.settings.CA)
		}
	}
	return loaded, nil
}

// current returns the certificates to use now, read again if the files changed.
func (c *Certificates) current() certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.checked) < recheckInterval {
		return c.loaded
	}
	c.checked = now
	stamps := c.stat()
	if stamps == c.stamps {
		return c.loaded
	}
	c.stamps = stamps
	loaded, err := c.read()
	if err != nil {
		if c.onError != nil {
			c.onError(err)
		}
		return c.loaded
	}
	c.loaded = loaded
	return loaded
}

// Server returns the settings of a port for clients (native API, admin):
// whether they must show a certificate is tls.client_auth's choice.
func (c *Certificates) Server() *tls.Config {
	mode := tls.NoClientCert
	switch c.settings.ClientAuth {
	case "optional":
		mode = tls.VerifyClientCertIfGiven
	case "require":
		mode = tls.RequireAndVerifyClientCert
	}
	return c.server(mode, tls.VersionTLS13)
}

// Kinesis returns the settings of the Kinesis-compatible API's port, whose clients prove themselves by signatures. They are
// others' programs, some of which do not know TLS 1.3.
func (c *Certificates) Kinesis() *tls.Config { return c.server(tls.NoClientCert, tls.VersionTLS12) }

// Peers returns the settings of a port between nodes: both sides prove themselves.
func (c *Certificates) Peers() *tls.Config {
	return c.server(tls.RequireAndVerifyClientCert, tls.VersionTLS13)
}

func (c *Certificates) server(mode tls.ClientAuthType, oldest uint16) *tls.Config {
	return &tls.Config{
		MinVersion: oldest,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := c.current()
			if now.own == nil {
				return nil, errors.New("no certificate configured")
			}
			return &tls.Config{
				MinVersion:   oldest,
				NextProtos:   []string{"h2", "http/1.1"},
				Certificates: []tls.Certificate{*now.own},
				ClientAuth:   mode,
				ClientCAs:    now.pool,
			}, nil
		},
	}
}

// Client returns the settings for one connection to host, which the server's
// certificate must name unless tls.server_name does. Ask again for each
// connection: the result does not follow later changes of the files.
func (c *Certificates) Client(host string) *tls.Config {
	now := c.current()
	if c.settings.ServerName != "" {
		host = c.settings.ServerName
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host, RootCAs: now.pool}
	if now.own != nil {
		config.Certificates = []tls.Certificate{*now.own}
	}
	return config
}

// Credentials returns gRPC credentials for both sides that follow the files.
func (c *Certificates) Credentials() credentials.TransportCredentials {
	return following{c}
}

// following makes standard gRPC TLS credentials anew for each handshake.
type following struct{ certificates *Certificates }

func (f following) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		host = authority
	}
	return credentials.NewTLS(f.certificates.Client(host)).ClientHandshake(ctx, authority, raw)
}

func (f following) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(f.certificates.Server()).ServerHandshake(raw)
}

func (f following) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (f following) Clone() credentials.TransportCredentials { return f }

// OverrideServerName does nothing: the name is tls.server_name's to override.
func (f following) OverrideServerName(string) error { return nil }
