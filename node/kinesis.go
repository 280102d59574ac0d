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

// frontDoorNotice is how long clients are told with their answers to leave before idle connections are closed.
const frontDoorNotice = 200 * time.Millisecond

// frontDoorStop is how long the requests of a front door may go on when the node stops, frontDoorCut how long it may take then to tell the others that it does.
const frontDoorStop, frontDoorCut = 2 * time.Second, time.Second

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
		server.Leave()
		time.Sleep(frontDoorNotice)
		server.EndSubscriptions()
		err := within(frontDoorStop, front.Shutdown)
		if err != nil {
			// What has no result by now is told to try again. Records of it were not acknowledged to anybody.
			_ = within(0, server.Close)
			if err = within(frontDoorCut, front.Shutdown); err != nil {
				err = front.Close() // clients that do not take their answers
			}
		}
		<-done
		_ = within(0, server.Close) // no request is left
		return err
	})
	return nil
}

// within calls a function with a context that ends after d.
func within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f(ctx)
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
