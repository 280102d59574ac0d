package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// target is the flags of every command that talks to a cluster.
type target struct {
	Endpoint []string      `help:"Addresses of nodes, host:port, separated by commas. Default: the running dev cluster of ./${devdir}, else 127.0.0.1:7400." env:"LEVADA_ENDPOINT" placeholder:"HOST:PORT"`
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

// endpoints returns the nodes to talk to.
func (t target) endpoints(s *session) []string {
	if len(t.Endpoint) > 0 {
		return t.Endpoint
	}
	if found := runningDevCluster(defaultDevDir); len(found) > 0 {
		s.note("using the dev cluster of ./%s: %s", defaultDevDir, strings.Join(found, ","))
		return found
	}
	return []string{defaultEndpoint}
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
			return nil, usageError{err}
		}
		opts = append(opts, client.WithGRPC(grpc.WithTransportCredentials(certificates.Credentials())))
	}
	return opts, nil
}

// connect returns a client of the cluster. Close it.
func (t target) connect(ctx context.Context, s *session) (*client.Client, error) {
	opts, err := t.options(s)
	if err != nil {
		return nil, err
	}
	endpoints := t.endpoints(s)
	c, err := client.Dial(ctx, endpoints, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(endpoints, ","), err)
	}
	return c, nil
}
