package node

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/levada-stream/levada/api/faultpb"
	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/wal/record"
)

// messageBytesMax bounds one message of the native API: the largest batch, or
// one page of a reader, and what is around it.
const messageBytesMax = record.MaxBatchBytes + 1<<20

// serveAPI starts the native API.
func (n *Node) serveAPI(p *ports, opened *closers) {
	l := n.cfg.Limits
	server := grpc.NewServer(
		grpc.Creds(p.credentials()),
		grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax),
		grpc.MaxConcurrentStreams(uint32(l.CallsPerConnectionMax)),
		grpc.ConnectionTimeout(l.HandshakeTimeout.Std()),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			resp, err := handle(ctx, req)
			return resp, faultpb.Status(err)
		}),
		grpc.StreamInterceptor(func(srv any, call grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return faultpb.Status(handle(srv, call))
		}),
	)
	pb.RegisterStreamsServer(server, &streamsServer{n: n})
	pb.RegisterAdminServer(server, &adminServer{n: n})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(netutil.LimitListener(p.grpc, l.ConnectionsMax)); err != nil {
			n.fail(err)
		}
	}()
	opened.add(func() error {
		// Calls that follow a shard never end by themselves: after a moment for the others they are cut.
		cut := time.AfterFunc(min(l.ShutdownTimeout.Std(), time.Second), server.Stop)
		server.GracefulStop()
		cut.Stop()
		<-done
		return nil
	})
}

// serveAdmin starts the admin port.
func (n *Node) serveAdmin(p *ports, registry *prometheus.Registry, opened *closers) {
	server := newAdminServer(adminHandler(n, registry))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(p.http); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.fail(err)
		}
	}()
	opened.add(func() error {
		err := server.Close()
		<-done
		return err
	})
}
