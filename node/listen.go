package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/kinesis"
)

// ports are the listening sockets of a node and what is needed to call others.
type ports struct {
	grpc, raft, http net.Listener
	kinesis          net.Listener          // nil if the API is not served
	certificates     *configs.Certificates // nil without TLS
	tls              configs.TLS
}

// listen opens every port before anything is started, so that a port in use is
// the first thing a user hears of.
func (n *Node) listen() (p *ports, err error) {
	p = &ports{tls: n.cfg.TLS}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.tls.Enabled() {
		p.certificates, err = p.tls.LoadCertificates(func(err error) {
			n.log.Error("changed TLS files cannot be used; the former ones stay in use", "error", err)
		})
		if err != nil {
			return p, fmt.Errorf("tls: %w", err)
		}
	}
	for _, port := range []struct {
		key, address, advertise string
		into                    *net.Listener
		told                    *string
	}{
		{"listen.grpc", n.cfg.Listen.GRPC, n.cfg.Advertise.GRPC, &p.grpc, &n.addresses.GRPC},
		{"listen.raft", n.cfg.Listen.Raft, n.cfg.Advertise.Raft, &p.raft, &n.addresses.Raft},
		{"listen.http", n.cfg.Listen.HTTP, n.cfg.Advertise.HTTP, &p.http, &n.addresses.HTTP},
		{"kinesis.listen", n.cfg.Kinesis.Listen, "", &p.kinesis, &n.kinesisAddress},
	} {
		if port.address == "" {
			continue
		}
		if *port.into, err = net.Listen("tcp", port.address); err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				err = fmt.Errorf("%s: port %s is in use by another process; %s: %w", port.key, port.address, wayOut(port.key), err)
			}
			return p, err
		}
		if *port.told, err = configs.AdvertiseAddress(port.advertise, (*port.into).Addr()); err != nil {
			return p, fmt.Errorf("%s: %w", port.key, err)
		}
	}
	if p.tls.Raft {
		p.raft = tls.NewListener(p.raft, p.certificates.Peers())
	}
	if p.tls.HTTP {
		p.http = tls.NewListener(p.http, p.certificates.Server())
	}
	if p.tls.Kinesis && p.kinesis != nil {
		p.kinesis = kinesis.Secure(p.kinesis, p.certificates.Kinesis())
	}
	return p, nil
}

// wayOut says what to do about an address that is in use. The one of the Kinesis-compatible API has a default, which nodes of one machine easily share.
func wayOut(key string) string {
	if key == "kinesis.listen" {
		return `if that is another node of this machine, set kinesis.listen to another address, or to "" to serve no Kinesis-compatible API here`
	}
	return "stop it or choose another address"
}

// close closes what its server has not closed yet.
func (p *ports) close() error {
	var errs []error
	for _, l := range []net.Listener{p.grpc, p.raft, p.http, p.kinesis} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// dialRaft connects to another node's Raft port.
func (p *ports) dialRaft(ctx context.Context, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !p.tls.Raft {
		return dialer.DialContext(ctx, "tcp", address)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{NetDialer: dialer, Config: p.certificates.Client(host)}).DialContext(ctx, "tcp", address)
}

const dialTimeout = 3 * time.Second

// credentials are the native API's, for serving and for calling other nodes.
func (p *ports) credentials() credentials.TransportCredentials {
	if p.tls.GRPC {
		return p.certificates.Credentials()
	}
	return insecure.NewCredentials()
}
