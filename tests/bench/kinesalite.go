package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
)

// kinesaliteSystem is one kinesalite process, an emulator of the Kinesis API that keeps everything in memory. dir is where npm has installed it.
func kinesaliteSystem(dir string) system {
	return system{
		name:     "kinesalite",
		settings: "one process, in memory, no replicas",
		start: func(ctx context.Context, b *bench, data string) (cluster, error) {
			_, port, err := net.SplitHostPort(b.address(0, 0))
			if err != nil {
				return nil, err
			}
			p, err := b.launcher.start(command{
				name: "kinesalite", binary: "node", log: filepath.Join(data, "kinesalite.log"),
				args: []string{filepath.Join(dir, "node_modules", "kinesalite", "cli.js"), "--port", port, "--createStreamMs", "0", "--deleteStreamMs", "0", "--shardLimit", "1000"},
			})
			if err != nil {
				return nil, err
			}
			c := &kinesaliteCluster{p: p, endpoint: "http://" + b.address(0, 0)}
			return c, await(ctx, startMax, func(context.Context) error {
				if !p.running() {
					return fmt.Errorf("kinesalite has ended")
				}
				conn, err := net.Dial("tcp", b.address(0, 0))
				if err != nil {
					return err
				}
				return conn.Close()
			})
		},
	}
}

// kinesaliteCluster is the running process.
type kinesaliteCluster struct {
	p        *process
	endpoint string
}

func (c *kinesaliteCluster) processes() []*process { return []*process{c.p} }

func (c *kinesaliteCluster) stop() {}

func (c *kinesaliteCluster) writer(ctx context.Context, t target) (writer, error) {
	return newKinesisWriter(ctx, []string{c.endpoint}, t)
}

func (c *kinesaliteCluster) readers(int) []reader { return nil }

func (c *kinesaliteCluster) tail(context.Context, int, func(), func([]byte)) error {
	return errNotMeasured
}

// volumes are nothing: it writes nothing to disk.
func (c *kinesaliteCluster) volumes(context.Context) (volumes, error) { return volumes{}, nil }
