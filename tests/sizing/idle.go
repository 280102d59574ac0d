package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

// idleOptions say what to measure on three nodes of this machine.
type idleOptions struct {
	dir          string
	basePort     int
	shards       int
	settle, over time.Duration
	megabytes    int
}

const (
	devNodes   = 3
	startMax   = 2 * time.Minute
	recordSize = 1024
)

// devNode is what dev.json says of a node.
type devNode struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	GRPC string `json:"grpc"`
	HTTP string `json:"http"`
}

// rig is a cluster of three processes on this machine.
type rig struct {
	dir    string
	nodes  []devNode
	client *client.Client
}

// measureIdle starts a cluster, measures it empty, with idle shards, and with shards that were
// written to, kills a node, and prints the table of docs/sizing.md.
func measureIdle(ctx context.Context, out io.Writer, o idleOptions) (err error) {
	dir, err := os.MkdirTemp(o.dir, "levada-sizing-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r, stop, err := startRig(ctx, dir, o.basePort)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var steps []footprint
	step := func(what string) error {
		f, err := r.measure(ctx, what, o)
		steps = append(steps, f)
		return err
	}
	if err := step("no shards"); err != nil {
		return err
	}
	start := time.Now()
	if err := r.create(ctx, "idle", o.shards); err != nil {
		return err
	}
	created := time.Since(start)
	if err := step(fmt.Sprintf("%d shards, idle", o.shards)); err != nil {
		return err
	}
	if err := r.put(ctx, "idle", 20*o.shards, 16); err != nil {
		return err
	}
	if err := step(fmt.Sprintf("%d shards with a few records", o.shards)); err != nil {
		return err
	}
	factor, err := r.writeFactor(ctx, o.megabytes)
	if err != nil {
		return err
	}
	printFootprints(out, steps, o.shards)
	fmt.Fprintf(out, "\n- %d shards with three replicas were created, all with a leader, in %.1f s\n", o.shards, created.Seconds())
	fmt.Fprintf(out, "- %.2f bytes were written to each node's journal and logs for a byte of records\n", factor)
	led, healed, err := r.failover(ctx)
	if err != nil {
		return fmt.Errorf("after a node was killed: %w", err)
	}
	fmt.Fprintf(out, "- a node that led %d shards was killed: all had another leader %.1f s later\n", led, healed.Seconds())
	return nil
}

// startRig builds the program from the tree it is run in, and starts `levada dev`.
func startRig(ctx context.Context, dir string, basePort int) (*rig, func() error, error) {
	binary := filepath.Join(dir, "levada")
	if text, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/levada").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("build the program (run this in the root of the project): %w: %s", err, text)
	}
	data := filepath.Join(dir, "data")
	cmd := exec.Command(binary, "dev", "--data", data, "--base-port", fmt.Sprint(basePort), "--nodes", fmt.Sprint(devNodes))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r := &rig{dir: data}
	stop := func() error {
		if r.client != nil {
			r.client.Close()
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-ended // a node was killed on purpose, which dev reports as a failure
		return nil
	}
	err := await(ctx, func() error {
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("%w: levada dev ended: %w", errFinal, err)
		default:
		}
		return r.load()
	})
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	var endpoints []string
	for _, n := range r.nodes {
		endpoints = append(endpoints, n.GRPC)
	}
	if r.client, err = client.Dial(ctx, endpoints); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return r, stop, nil
}

// load reads which nodes run.
func (r *rig) load() error {
	text, err := os.ReadFile(filepath.Join(r.dir, "dev.json"))
	if err != nil {
		return err
	}
	var state struct {
		Nodes []devNode `json:"nodes"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	r.nodes = state.Nodes
	return nil
}

// errFinal ends a wait at once.
var errFinal = errors.New("no use to wait")

// await asks until the answer is nil.
func await(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	for {
		err := ask()
		if err == nil || errors.Is(err, errFinal) {
			return err
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// create makes a stream and waits until all its shards have leaders and replicas.
func (r *rig) create(ctx context.Context, name string, shards int) error {
	if _, _, err := r.client.CreateStream(ctx, name, &levadav1.StreamSettings{Shards: uint32(shards)}, false); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return await(ctx, func() error {
		state, err := r.client.Cluster(ctx, 0)
		if err == nil && !state.GetHealthy() {
			err = fmt.Errorf("not healthy: %s", strings.Join(state.GetProblems(), "; "))
		}
		return err
	})
}

// put writes records with as many keys as there are records, so that every shard gets some.
func (r *rig) put(ctx context.Context, stream string, records, size int) error {
	p, err := r.client.Producer(stream, client.ProducerOptions{})
	if err != nil {
		return err
	}
	data := make([]byte, size)
	failed := make(chan error, 1)
	for i := range records {
		rec := client.Record{PartitionKey: fmt.Sprint("key-", i), Data: data}
		err := p.PutFunc(ctx, rec, func(res client.Result) {
			if res.Err != nil {
				select {
				case failed <- res.Err:
				default: // the first one is enough
				}
			}
		})
		if err != nil {
			return errors.Join(err, p.Close(ctx))
		}
	}
	if err := p.Close(ctx); err != nil {
		return fmt.Errorf("write to %s: %w", stream, err)
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// writeFactor writes records of 1 KiB into 16 shards and returns how much of each byte
// a node wrote in the mean.
func (r *rig) writeFactor(ctx context.Context, megabytes int) (float64, error) {
	if err := r.create(ctx, "records", 16); err != nil {
		return 0, err
	}
	written := func() (sum float64, err error) {
		for _, n := range r.nodes {
			page, err := fetch(ctx, n)
			if err != nil {
				return 0, err
			}
			for _, name := range []string{"levada_journal_bytes_total", "levada_shard_log_bytes_total"} {
				v, err := metric(page, name)
				if err != nil {
					return 0, err
				}
				sum += v
			}
		}
		return sum, nil
	}
	before, err := written()
	if err != nil {
		return 0, err
	}
	records := megabytes * 1_000_000 / recordSize
	if err := r.put(ctx, "records", records, recordSize); err != nil {
		return 0, err
	}
	if err := pause(ctx, 5*time.Second); err != nil { // shard logs are written two seconds late
		return 0, err
	}
	after, err := written()
	return (after - before) / float64(records*recordSize*len(r.nodes)), err
}

// failover kills the node that leads most shards and waits until all have a leader again.
func (r *rig) failover(ctx context.Context) (led uint32, took time.Duration, err error) {
	state, err := r.client.Cluster(ctx, 0)
	if err != nil {
		return 0, 0, err
	}
	var victim devNode
	for _, n := range state.GetNodes() {
		for _, d := range r.nodes {
			if d.Name == n.GetName() && n.GetLeaders() >= led {
				led, victim = n.GetLeaders(), d
			}
		}
	}
	var left []string
	for _, n := range r.nodes {
		if n.Name != victim.Name {
			left = append(left, n.GRPC)
		}
	}
	survivors, err := client.Dial(ctx, left)
	if err != nil {
		return 0, 0, err
	}
	defer survivors.Close()
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	err = await(ctx, func() error {
		state, err := survivors.Cluster(ctx, 0)
		if err != nil {
			return err
		}
		for _, n := range state.GetNodes() {
			if n.GetName() == victim.Name && n.GetLeaders() > 0 || state.GetShardsWithoutLeader() > 0 {
				return fmt.Errorf("%d shards without a leader", state.GetShardsWithoutLeader())
			}
		}
		return nil
	})
	return led, time.Since(start), err
}

// fetch reads the metrics of a node.
func fetch(ctx context.Context, n devNode) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+"/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}
