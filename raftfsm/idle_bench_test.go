package raftfsm

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/journal"
)

// tcpNode is a node on loopback with real files.
func tcpNode(b *testing.B, id string, addrs map[string]string, l net.Listener) *testNode {
	b.Helper()
	n := &testNode{id: id, machines: map[uint64]*listMachine{}}
	dir := b.TempDir()
	var err error
	n.journal, err = journal.Open(vfs.OS(), dir+"/journal", journal.Options{SpareSegments: 1})
	if err != nil {
		b.Fatal(err)
	}
	n.transport, err = NewTransport(TransportOptions{
		NodeID: id, Listener: l, Logger: testLogger(b, id),
		Dial: func(ctx context.Context, a string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", a)
		},
		Resolve: func(id string) (string, bool) { return addrs[id], addrs[id] != "" },
	})
	if err != nil {
		b.Fatal(err)
	}
	n.host, err = NewHost(HostOptions{NodeID: id, Journal: n.journal, FS: vfs.OS(), Dir: dir, Transport: n.transport, Logger: testLogger(b, id)})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// startIdle runs groups on three loopback nodes, waits until all have leaders, and returns the nodes.
func startIdle(b *testing.B, groups int) []*testNode {
	b.Helper()
	addrs := map[string]string{}
	var nodes []*testNode
	var members []Server
	var listeners []net.Listener
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		addrs[strconv.Itoa(i)] = l.Addr().String()
		listeners = append(listeners, l)
		members = append(members, Server{ID: strconv.Itoa(i), Voter: true})
	}
	for i := range 3 {
		nodes = append(nodes, tcpNode(b, strconv.Itoa(i), addrs, listeners[i]))
	}
	for g := 1; g <= groups; g++ {
		for _, n := range nodes {
			if _, err := n.host.StartGroup(GroupOptions{ID: uint64(g), FSM: &listMachine{}, Bootstrap: members}); err != nil {
				b.Fatal(err)
			}
		}
	}
	deadline := time.Now().Add(2 * time.Minute)
	for led := 0; led < groups; {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d groups have leaders", led, groups)
		}
		time.Sleep(50 * time.Millisecond)
		led = 0
		for _, n := range nodes {
			for _, g := range n.host.Groups() {
				if g.IsLeader() {
					led++
				}
			}
		}
	}
	return nodes
}

// BenchmarkIdleGroups measures what idle groups cost: CPU seconds per second for all three
// nodes, goroutines and heap per replica. Run it with -benchtime 1x.
func BenchmarkIdleGroups(b *testing.B) {
	for _, groups := range []int{100, 1000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			nodes := startIdle(b, groups)
			b.ReportMetric(time.Since(start).Seconds(), "s-to-leaders")
			time.Sleep(5 * time.Second) // elections settle, pipelines open
			const span = 10 * time.Second
			cpu := cpuTime()
			time.Sleep(span)
			b.ReportMetric(float64(cpuTime()-cpu)/float64(span), "cores")
			b.ReportMetric(float64(runtime.NumGoroutine())/float64(3*groups), "goroutines/replica")
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/float64(3*groups)/1024, "KiB/replica")
			for _, n := range nodes {
				for _, c := range []io.Closer{n.host, n.transport, n.journal} {
					if err := c.Close(); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
}
