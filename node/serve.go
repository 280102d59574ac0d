package node

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/levada-stream/levada/api/faultpb"
	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/api/wire"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

// messageBytesMax bounds one message of the native API: the largest batch, or
// one page of a reader, and what is around it.
const messageBytesMax = record.MaxBatchBytes + 1<<20

// serveAPI starts the native API.
func (n *Node) serveAPI(p *ports, opened *closers) {
	l := n.cfg.Limits
	server := grpc.NewServer(
		grpc.Creds(p.credentials()), grpc.ForceServerCodecV2(wire.New()),
		grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax),
		grpc.MaxConcurrentStreams(uint32(l.CallsPerConnectionMax)),
		grpc.ConnectionTimeout(l.HandshakeTimeout.Std()),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := n.caughtUp(info.FullMethod); err != nil {
				return nil, faultpb.Status(err)
			}
			resp, err := handle(ctx, req)
			return resp, faultpb.Status(err)
		}),
		grpc.StreamInterceptor(func(srv any, call grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := n.caughtUp(info.FullMethod); err != nil {
				return faultpb.Status(err)
			}
			return faultpb.Status(handle(srv, call))
		}),
	)
	pb.RegisterStreamsServer(server, &streamsServer{n: n})
	pb.RegisterAdminServer(server, &adminServer{n: n})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(n.apiConns); err != nil {
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

// withoutMeta is how long after its start a node waits for the meta group's
// leader before it serves what its own copy of the control state knows.
const withoutMeta = 10 * time.Second

// caughtUp refuses calls while this node's copy of the control state may be older than
// what it has answered with before its last stop: a stream it knew then would
// not exist. If the meta group stays without a leader, the copy has to do: the data path must go on.
func (n *Node) caughtUp(method string) error {
	if n.joined.Load() || method == pb.Admin_GetCluster_FullMethodName {
		return nil
	}
	if n.metaStore.State().Version() > 0 && time.Since(n.started) > withoutMeta {
		return nil
	}
	return fault.New(fault.Unavailable, "node %s has not caught up with the cluster yet; ask another node or retry", n.name)
}

// serveAdmin starts the admin port.
func (n *Node) serveAdmin(registry *prometheus.Registry, opened *closers) {
	server := newAdminServer(adminHandler(n, registry))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(n.adminConns); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.fail(err)
		}
	}()
	opened.add(func() error {
		err := server.Close()
		<-done
		return err
	})
}
