package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsclient "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// natsMode is one way in which NATS's clients can publish much.
type natsMode struct {
	// kind is "sync" (wait for each message), "async" (PublishAsync), "atomic" (batches that are stored whole) or "fast" (fast-ingest batches).
	kind string
	// publishers is the number of connections per stream, each with one publishing goroutine.
	publishers int
	// pending is how many messages of a publisher may be unacknowledged
	// (async), or in one batch (atomic), or between two acknowledgements (fast).
	pending int
}

func (m natsMode) String() string {
	unit := map[string]string{"sync": "unacknowledged", "async": "unacknowledged", "atomic": "per batch", "fast": "per acknowledgement"}[m.kind]
	return fmt.Sprintf("%s, %d connection(s) per stream, %d messages %s", m.kind, m.publishers, m.pending, unit)
}

// natsModes are those tried for a number of streams and a size of records; the
// best is kept. The client's buffers and the server's are bytes: of large records fewer are on their way.
func natsModes(shards, size int) []natsMode {
	modes := natsModesSmall(shards)
	for i := range modes {
		if size > 8*recordBytes {
			modes[i].pending = max(8, modes[i].pending/16)
		}
	}
	return modes
}

func natsModesSmall(shards int) []natsMode {
	if shards == 1 {
		return []natsMode{
			{"async", 1, 512},
			{"async", 1, 2048},
			{"async", 1, 8000},
			{"async", 4, 1000},
			{"atomic", 4, 250},
			{"atomic", 16, 500},
			{"fast", 1, 500},
			{"fast", 4, 500},
		}
	}
	return []natsMode{
		{"async", 1, 64},
		{"async", 1, 256},
		{"async", 1, 1024},
		{"async", 1, 4096},
		{"atomic", 1, 250},
		{"atomic", 4, 250},
		{"fast", 1, 200},
		{"fast", 1, 1000},
	}
}

// natsSystem is NATS JetStream with three file replicas, and how to publish to
// a number of streams. syncInterval "" leaves the server's default, two minutes.
func natsSystem(name, syncInterval string, modes map[int]natsMode) system {
	shown := cmp.Or(syncInterval, "default (2m)")
	return system{
		name: name,
		settings: func(shards int) string {
			return fmt.Sprintf("sync_interval %s; one stream per shard; %s", shown, modes[shards])
		},
		start: func(ctx context.Context, b *bench, dir string) (cluster, error) {
			c := &natsCluster{modes: modes}
			return c, c.start(ctx, b, dir, syncInterval)
		},
	}
}

// natsCluster is three nats-server processes.
type natsCluster struct {
	modes   map[int]natsMode // by number of streams
	servers []*process
	urls    map[string]string // by server name
	leader  string            // of the stream that was created last
}

func (c *natsCluster) processes() []*process { return c.servers }

// stop does nothing: connections belong to writers.
func (c *natsCluster) stop() {}

func (c *natsCluster) start(ctx context.Context, b *bench, dir, syncInterval string) error {
	c.urls = map[string]string{}
	var routes []string
	for i := range nodes {
		routes = append(routes, "nats://"+b.address(i, 1))
	}
	for i := range nodes {
		name := fmt.Sprintf("n%d", i+1)
		config := fmt.Sprintf("server_name: %s\nlisten: %s\njetstream {\n  store_dir: %q\n", name, b.address(i, 0), filepath.Join(dir, name))
		if syncInterval != "" {
			config += "  sync_interval: " + syncInterval + "\n"
		}
		config += fmt.Sprintf("}\ncluster {\n  name: bench\n  listen: %s\n  routes: [%s]\n}\n", b.address(i, 1), strings.Join(routes, ", "))
		path := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			return err
		}
		p, err := b.launcher.start(command{name: name, binary: b.nats, args: []string{"-c", path}, log: filepath.Join(dir, name+".log")})
		if err != nil {
			return err
		}
		c.servers = append(c.servers, p)
		c.urls[name] = "nats://" + b.address(i, 0)
	}
	err := await(ctx, startMax, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		for _, url := range c.urls {
			if err := ready(ctx, url); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("new NATS cluster: %w", err)
	}
	return nil
}

// ready returns nil if a server sees the leader of JetStream's own group: it answers.
func ready(ctx context.Context, url string) error {
	nc, err := natsclient.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.AccountInfo(ctx)
	return err
}

func (c *natsCluster) writer(ctx context.Context, shards, size int) (writer, error) {
	nc, err := natsclient.Connect(c.urls["n1"])
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	w := &natsWriter{mode: c.modes[shards], data: payload(size)}
	for i := range shards {
		subject := fmt.Sprintf("bench.%d.%d", shards, i)
		leader, err := createNATSStream(ctx, js, natsStream(shards, i), subject)
		if err != nil {
			w.close()
			return nil, err
		}
		c.leader = leader
		// Connections go to the stream's leader: that saves NATS a hop.
		if err := w.connect(c.urls[leader], subject); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// natsStream names the i-th of so many streams.
func natsStream(shards, i int) string { return fmt.Sprintf("BENCH-%d-%d", shards, i) }

// createNATSStream creates a stream and returns the name of its leader once all replicas follow.
func createNATSStream(ctx context.Context, js jetstream.JetStream, name, subject string) (string, error) {
	leader := ""
	err := await(ctx, startMax, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Storage: jetstream.FileStorage, Replicas: nodes,
			AllowAtomicPublish: true, AllowBatchPublish: true, AllowDirect: true,
		})
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err != nil {
			return err
		}
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) < nodes-1 {
			return errors.New("no leader yet")
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("replica %s is not current yet", r.Name)
			}
		}
		leader = info.Cluster.Leader
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("create NATS stream %s: %w", name, err)
	}
	return leader, nil
}

// natsWriter publishes to NATS streams.
type natsWriter struct {
	mode       natsMode
	data       []byte
	publishers []*natsPublisher
}

// natsPublisher is one connection to one stream.
type natsPublisher struct {
	nc      *natsclient.Conn
	js      jetstream.JetStream
	subject string
	counted atomic.Pointer[atomic.Int64] // takes the acknowledgements of PublishAsync
	failed  atomic.Pointer[error]
}

// fail keeps the first error.
func (p *natsPublisher) fail(err error) { p.failed.CompareAndSwap(nil, &err) }

func (w *natsWriter) connect(url, subject string) error {
	for range w.mode.publishers {
		nc, err := natsclient.Connect(url)
		if err != nil {
			return err
		}
		p := &natsPublisher{nc: nc, subject: subject}
		w.publishers = append(w.publishers, p)
		p.js, err = jetstream.New(nc,
			jetstream.WithPublishAsyncMaxPending(w.mode.pending),
			jetstream.WithPublishAsyncAckHandler(func(jetstream.JetStream, *natsclient.Msg, *jetstream.PubAck) {
				if c := p.counted.Load(); c != nil {
					c.Add(1)
				}
			}),
			jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *natsclient.Msg, err error) { p.fail(err) }))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *natsWriter) size() int { return len(w.data) }

func (w *natsWriter) flood(ctx context.Context, acked *atomic.Int64) error {
	var running sync.WaitGroup
	for _, p := range w.publishers {
		running.Go(func() {
			var err error
			switch w.mode.kind {
			case "atomic":
				err = p.atomicBatches(ctx, w.data, w.mode.pending, acked)
			case "fast":
				err = p.fastBatch(ctx, w.data, w.mode.pending, acked)
			default:
				err = p.async(ctx, w.data, acked)
			}
			if err != nil {
				p.fail(err)
			}
		})
	}
	running.Wait()
	for _, p := range w.publishers {
		if err := p.failed.Load(); err != nil {
			return fmt.Errorf("NATS %s: %w", p.subject, *err)
		}
	}
	return nil
}

// async publishes messages one by one without waiting for each.
func (p *natsPublisher) async(ctx context.Context, data []byte, acked *atomic.Int64) error {
	p.counted.Store(acked)
	for ctx.Err() == nil && p.failed.Load() == nil {
		if _, err := p.js.PublishAsync(p.subject, data, jetstream.WithStallWait(20*time.Second)); err != nil {
			return err
		}
	}
	select {
	case <-p.js.PublishAsyncComplete():
		return nil
	case <-time.After(time.Minute):
		return errors.New("messages are unacknowledged after a minute")
	}
}

// atomicBatches publishes batches that the server stores whole or not at all,
// one after the other.
func (p *natsPublisher) atomicBatches(ctx context.Context, data []byte, size int, acked *atomic.Int64) error {
	for ctx.Err() == nil {
		batch, err := jetstreamext.NewBatchPublisher(p.js, jetstreamext.BatchFlowControl{AckFirst: false, AckTimeout: 20 * time.Second})
		if err != nil {
			return err
		}
		for range size - 1 {
			if err := batch.Add(p.subject, data); err != nil {
				return err
			}
		}
		committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		_, err = batch.Commit(committing, p.subject, data)
		cancel()
		if err != nil {
			return err
		}
		acked.Add(int64(size))
	}
	return nil
}

// fastBatch publishes one long fast-ingest batch. The server acknowledges
// positions in it; messages count when a position at or above theirs is.
func (p *natsPublisher) fastBatch(ctx context.Context, data []byte, flow int, acked *atomic.Int64) error {
	batch, err := jetstreamext.NewFastPublisher(p.js, jetstreamext.FastPublishFlowControl{
		Flow: uint16(flow), MaxOutstandingAcks: 4, AckTimeout: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	counted := uint64(0)
	for ctx.Err() == nil {
		ack, err := batch.Add(p.subject, data)
		if err != nil {
			return err
		}
		if ack.AckSequence > counted {
			acked.Add(int64(ack.AckSequence - counted))
			counted = ack.AckSequence
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	_, err = batch.Close(closing)
	return err
}

func (w *natsWriter) one(ctx context.Context) error {
	p := w.publishers[0]
	_, err := p.js.Publish(ctx, p.subject, w.data)
	return err
}

func (w *natsWriter) close() {
	for _, p := range w.publishers {
		p.nc.Close()
	}
}
