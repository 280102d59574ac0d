package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/levada-stream/levada/api/faultpb"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// target is the flags of every command that talks to a cluster.
type target struct {
	Endpoint []string      `help:"Addresses of nodes, host:port, separated by commas. Default: the running dev cluster of ./${devdir}, else 127.0.0.1:7400." env:"LEVADA_ENDPOINT" sep:"none" placeholder:"HOST:PORT"`
	Output   string        `short:"o" help:"Form of the result: ${enum}." enum:"table,json" default:"table"`
	Timeout  time.Duration `help:"How long to try to reach the cluster." default:"15s"`

	TLS           bool   `name:"tls" help:"Use TLS, with the system's authorities."`
	TLSCA         string `name:"tls-ca" help:"Use TLS, trusting the authorities in this PEM file." env:"LEVADA_TLS_CA" type:"path" placeholder:"FILE"`
	TLSCert       string `name:"tls-cert" help:"Certificate to show, a PEM file." env:"LEVADA_TLS_CERT" type:"path" placeholder:"FILE"`
	TLSKey        string `name:"tls-key" help:"Its private key." env:"LEVADA_TLS_KEY" type:"path" placeholder:"FILE"`
	TLSServerName string `name:"tls-server-name" help:"Name that the nodes' certificates carry, if not that of their address." placeholder:"NAME"`
}

const defaultEndpoint = "127.0.0.1:7400"

func (t target) json() bool { return t.Output == "json" }

// check implements checker.
func (t target) check(s *session) error {
	if t.Timeout <= 0 {
		return usagef("--timeout: %s must be above 0, for example 15s", t.Timeout)
	}
	switch {
	case t.TLSCert != "" && t.TLSKey == "":
		return usagef("--tls-cert needs --tls-key (LEVADA_TLS_KEY), the certificate's private key")
	case t.TLSKey != "" && t.TLSCert == "":
		return usagef("--tls-key needs --tls-cert (LEVADA_TLS_CERT), the key's certificate")
	}
	_, err := t.named(s)
	return err
}

// endpoints returns the nodes to talk to.
func (t target) endpoints(s *session) ([]string, error) {
	named, err := t.named(s)
	if err != nil || len(named) > 0 {
		return named, err
	}
	if found := runningDevCluster(defaultDevDir); len(found) > 0 {
		s.note("using the dev cluster of ./%s: %s", defaultDevDir, strings.Join(found, ","))
		return found, nil
	}
	return []string{defaultEndpoint}, nil
}

// runningDevCluster returns the addresses in a directory's dev.json whose
// nodes' processes are alive.
func runningDevCluster(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, devFile))
	if err != nil {
		return nil
	}
	var d devState
	if json.Unmarshal(text, &d) != nil {
		return nil
	}
	var found []string
	for _, n := range d.Nodes {
		if processAlive(n.PID) {
			found = append(found, n.GRPC)
		}
	}
	return found
}

// options returns the client's options that the flags ask for.
func (t target) options(s *session) ([]client.Option, error) {
	opts := []client.Option{client.WithCallTimeout(t.Timeout)}
	if s.verbose {
		opts = append(opts, client.WithLogger(hclog.New(&hclog.LoggerOptions{Name: "client", Level: hclog.Debug, Output: s.err})))
	}
	files := configs.TLS{CA: t.TLSCA, Cert: t.TLSCert, Key: t.TLSKey, ServerName: t.TLSServerName}
	if t.TLS || files != (configs.TLS{}) {
		certificates, err := files.LoadCertificates(nil)
		if err != nil {
			return nil, usagef("--tls-ca, --tls-cert, --tls-key: %w", err)
		}
		opts = append(opts, client.WithGRPC(grpc.WithTransportCredentials(certificates.Credentials())))
	}
	return opts, nil
}

// silence is how long a command tries to reach the cluster before it says so.
const silence = time.Second

// connect returns a client of the cluster. Close it.
func (t target) connect(ctx context.Context, s *session) (*client.Client, error) {
	opts, err := t.options(s)
	if err != nil {
		return nil, err
	}
	endpoints, err := t.endpoints(s)
	if err != nil {
		return nil, err
	}
	s.ballast = make([]byte, ballastBytes)
	list := strings.Join(endpoints, ",")
	var tried attempts
	opts = append(opts, client.WithGRPC(grpc.WithChainUnaryInterceptor(tried.intercept)))
	said := make(chan struct{})
	notice := time.AfterFunc(silence, func() {
		defer close(said)
		s.warn("still trying %s: %s", list, tried.reason())
	})
	defer func() {
		if !notice.Stop() {
			<-said
		}
	}()
	c, err := client.Dial(ctx, endpoints, opts...)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("interrupted before %s answered: %w", list, ctx.Err())
	case client.IsUnavailable(err):
		return nil, unreachableError{fmt.Errorf("connect to %s: %w", list, err)}
	case err != nil:
		return nil, fmt.Errorf("connect to %s: %w", list, err)
	}
	return c, nil
}

// attempts remembers why the last call failed.
type attempts struct {
	mu   sync.Mutex
	last error // guarded by mu
}

func (a *attempts) intercept(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := call(ctx, method, in, out, cc, opts...)
	if err != nil {
		a.mu.Lock()
		a.last = err
		a.mu.Unlock()
	}
	return err
}

func (a *attempts) reason() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		return "no answer yet"
	}
	return faultpb.FromStatus(a.last).Error()
}
