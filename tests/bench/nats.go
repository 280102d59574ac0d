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
	"time"

	natsclient "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsSystems are NATS JetStream with three file replicas that are synced before an acknowledgement, and
// with the server's own setting, which syncs every two minutes.
func natsSystems() []system {
	return []system{natsSystem("nats-always", "always"), natsSystem("nats-default", "")}
}

func natsSystem(name, syncInterval string) system {
	return system{
		name:     name,
		settings: fmt.Sprintf("sync_interval %s; one stream per shard", cmp.Or(syncInterval, "default (2m)")),
		start: func(ctx context.Context, b *bench, dir string) (cluster, error) {
			c := &natsCluster{}
			return c, c.start(ctx, b, dir, syncInterval)
		},
	}
}

// natsCluster is three nats-server processes.
type natsCluster struct {
	servers []*process
	urls    map[string]string // by server name
	leaders map[string]string // server name, by stream
}

func (c *natsCluster) processes() []*process { return c.servers }

// stop does nothing: connections belong to writers.
func (c *natsCluster) stop() {}

func (c *natsCluster) start(ctx context.Context, b *bench, dir, syncInterval string) error {
	c.urls, c.leaders = map[string]string{}, map[string]string{}
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

func (c *natsCluster) writer(ctx context.Context, t target) (writer, error) {
	nc, err := natsclient.Connect(c.urls["n1"])
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	leaders, err := createNATSStreams(ctx, js, t.shards)
	if err != nil {
		return nil, err
	}
	w := &natsWriter{mode: t.how.(natsMode), data: payload(t.size)} // natsMode is NATS's kind of mode
	for i, leader := range leaders {
		c.leaders[natsStream(t.shards, i)] = leader
		// Connections go to the stream's leader: that saves NATS a hop.
		if err := w.connect(c.urls[leader], natsSubject(t.shards, i)); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// natsCreators is how many streams are created at a time: hundreds take long one after the other.
const natsCreators = 8

// createNATSStreams creates so many streams and returns their leaders.
func createNATSStreams(ctx context.Context, js jetstream.JetStream, shards int) ([]string, error) {
	var (
		leaders = make([]string, shards)
		errs    = make([]error, natsCreators)
		running sync.WaitGroup
	)
	for k := range natsCreators {
		running.Go(func() {
			for i := k; i < shards && errs[k] == nil; i += natsCreators {
				leaders[i], errs[k] = createNATSStream(ctx, js, natsStream(shards, i), natsSubject(shards, i))
			}
		})
	}
	running.Wait()
	return leaders, errors.Join(errs...)
}

func natsSubject(shards, i int) string { return fmt.Sprintf("bench.%d.%d", shards, i) }

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
