package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/kinesis"
)

// frontDoorStop is how long the requests of a front door may go on when the node stops.
const frontDoorStop = 2 * time.Second

// serveKinesis starts the Kinesis-compatible API, if it has an address. It stands before the cluster as any client does, by way of this node first.
func (n *Node) serveKinesis(ctx context.Context, p *ports, registry prometheus.Registerer, opened *closers) error {
	if p.kinesis == nil {
		return nil
	}
	settings := n.cfg.Kinesis
	keys, err := n.kinesisKeys(settings)
	if err != nil {
		return fmt.Errorf("kinesis.keys_file: %w", err)
	}
	c, err := client.Dial(ctx, []string{n.addresses.GRPC}, client.WithLogger(n.log.Named("kinesis")), client.WithGRPC(grpc.WithTransportCredentials(p.credentials())), client.WithDialer(n.dialAPI(p)))
	if err != nil {
		return fmt.Errorf("the Kinesis-compatible API reaches no native one at %s: %w", n.addresses.GRPC, err)
	}
	opened.add(c.Close)
	server, err := kinesis.New(c, kinesis.Options{
		Account: settings.AccountID, Region: settings.Region, Keys: keys.find, Anonymous: settings.Anonymous, Limits: kinesis.LimitsProfile(settings.Limits), Log: n.log.Named("kinesis"), Metrics: registry,
	})
	if err != nil {
		return err
	}
	n.sayWhoMay(settings)
	front := kinesis.NewHTTPServer(server)
	conns := newLimitListener(p.kinesis, n.cfg.Limits.ConnectionsMax, "limits.connections_max", n.log)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := front.Serve(conns); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.fail(err)
		}
	}()
	opened.add(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), frontDoorStop)
		defer cancel()
		server.EndSubscriptions()
		err := front.Shutdown(ctx)
		if err != nil {
			err = front.Close() // what has not ended by now is cut
		}
		<-done
		// Records that have no result yet when time is up were not acknowledged to anybody either.
		_ = server.Close(ctx)
		return err
	})
	return nil
}

// dialAPI connects to a node's native API, to this one's where it listens: the address that it is told by may lead here only once the node is ready.
func (n *Node) dialAPI(p *ports) func(context.Context, string) (net.Conn, error) {
	here := p.grpc.Addr().String()
	return func(ctx context.Context, address string) (net.Conn, error) {
		if address == n.addresses.GRPC {
			address = here
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
}

// sayWhoMay says aloud who may use the API: everybody is easily chosen by mistake, and so is nobody.
func (n *Node) sayWhoMay(settings configs.Kinesis) {
	switch {
	case settings.Anonymous:
		n.log.Warn("the Kinesis-compatible API takes everybody, whatever keys they use (kinesis.anonymous)", "address", n.kinesisAddress)
	case settings.KeysFile == "":
		n.log.Info("the Kinesis-compatible API is up; it takes the keys that the cluster keeps (levada key create)", "address", n.kinesisAddress)
	default:
		n.log.Info("the Kinesis-compatible API is up", "address", n.kinesisAddress)
	}
}
