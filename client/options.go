package client

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/levada-stream/levada/api/wire"
)

// Option changes how a Client behaves.
type Option func(*options)

type options struct {
	tls         *tls.Config
	logger      hclog.Logger
	dialer      func(ctx context.Context, address string) (net.Conn, error)
	callTimeout time.Duration
	tryTimeout  time.Duration
	dialTimeout time.Duration
	mapAge      time.Duration
	grpc        []grpc.DialOption
}

// WithTLS encrypts every connection. A nil config means the system's roots.
func WithTLS(c *tls.Config) Option {
	return func(o *options) {
		if c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		o.tls = c
	}
}

// WithLogger sends the client's log to l; without it there is none.
func WithLogger(l hclog.Logger) Option { return func(o *options) { o.logger = l } }

// WithDialer opens connections with dial instead of TCP.
func WithDialer(dial func(ctx context.Context, address string) (net.Conn, error)) Option {
	return func(o *options) { o.dialer = dial }
}

// WithCallTimeout bounds an admin or map call, all its attempts together, when
// its context has no earlier deadline. The default is 15 s.
func WithCallTimeout(d time.Duration) Option { return func(o *options) { o.callTimeout = d } }

// WithTryTimeout bounds one attempt of such a call, so that a node that hangs
// is left for the next. The default is 3 s.
func WithTryTimeout(d time.Duration) Option { return func(o *options) { o.tryTimeout = d } }

// WithDialTimeout bounds the opening of one connection. The default is 2 s.
func WithDialTimeout(d time.Duration) Option { return func(o *options) { o.dialTimeout = d } }

// WithMapAge sets the age at which a cached partition map is fetched again
// though nothing failed. The default is 30 s.
func WithMapAge(d time.Duration) Option { return func(o *options) { o.mapAge = d } }

// WithGRPC adds options to every connection, for interceptors and credentials.
func WithGRPC(extra ...grpc.DialOption) Option {
	return func(o *options) { o.grpc = append(o.grpc, extra...) }
}

func newOptions(opts []Option) options {
	o := options{
		logger:      hclog.NewNullLogger(),
		callTimeout: 15 * time.Second,
		tryTimeout:  3 * time.Second,
		dialTimeout: 2 * time.Second,
		mapAge:      30 * time.Second,
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

const (
	// A batch of the largest record must pass in one message, and a read
	// answers with at least one whole block.
	messageBytesMax = 32 << 20
	// Window sizes in bytes. They stand in place of gRPC's 64 KiB, which would
	// hold one call back to a window per round trip.
	callWindow       = 1 << 20
	connectionWindow = 16 << 20
)

func (o options) dialOptions() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if o.tls != nil {
		creds = credentials.NewTLS(o.tls)
	}
	d := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.New()), grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)),
		grpc.WithInitialWindowSize(callWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithReadBufferSize(128 << 10),
		grpc.WithWriteBufferSize(128 << 10),
		// A peer that fell silent is noticed within half a minute.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 8 * time.Second}),
		// A killed node is back within seconds: the usual two minutes would keep it away long after.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: o.dialTimeout,
		}),
		grpc.WithIdleTimeout(5 * time.Minute),
		// Nodes are reached directly; a proxy meant for the web is not in the way. WithDialer brings one in.
		grpc.WithNoProxy(),
	}
	if o.dialer != nil {
		d = append(d, grpc.WithContextDialer(o.dialer))
	}
	return append(d, o.grpc...)
}
