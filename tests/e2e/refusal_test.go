package e2e

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/levada-stream/levada/api/faultpb"
	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/wal/record"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// callMax bounds one call of these tests.
const callMax = 20 * time.Second

// encode lays a batch out by the byte table of docs/formats, without the checks of
// the codec: a client in another language may send anything.
func encode(keys []string, data int) []byte {
	b := make([]byte, record.HeaderSize)
	for _, key := range keys {
		b = binary.LittleEndian.AppendUint32(b, uint32(data))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
		b = append(b, 0, 0)
		b = append(b, key...)
		b = append(b, make([]byte, data)...)
	}
	copy(b, "LVB1")
	binary.LittleEndian.PutUint32(b[40:], uint32(len(keys)))
	return seal(b)
}

// seal sets length and checksum.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[12:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// changed returns a good batch after f changed its bytes, resealed.
func changed(f func(b []byte) []byte) []byte { return seal(f(encode([]string{"k"}, 10))) }

// appendOnce sends one batch to a shard through node n and returns the error of either
// the call or the request.
func appendOnce(ctx context.Context, n *cluster.Node, stream string, shard uint32, batch []byte) (*levadav1.AppendResponse, error) {
	streams, err := n.Streams()
	if err != nil {
		return nil, err
	}
	call, err := streams.Append(ctx)
	if err != nil {
		return nil, faultpb.FromStatus(err)
	}
	_ = call.Send(&levadav1.AppendRequest{Id: 7, Stream: stream, Shard: shard, Batch: batch}) // Recv has the reason
	_ = call.CloseSend()
	resp, err := call.Recv()
	if err != nil {
		return nil, faultpb.FromStatus(err)
	}
	if resp.GetError() != nil {
		return nil, faultpb.FromProto(resp.GetError())
	}
	return resp, nil
}

// read reads a shard to its tail through node n and returns the number of records.
func read(ctx context.Context, n *cluster.Node, req *levadav1.ReadRequest) (count int, err error) {
	_, err = n.Read(ctx, req, func(seqno.Number, record.Record) error { count++; return nil })
	if err != nil {
		err = faultpb.FromStatus(err)
	}
	return count, err
}

// refusal is one thing that a client may get wrong, and the answer it must get.
type refusal struct {
	name  string
	try   func(ctx context.Context, n *cluster.Node) error
	kinds []fault.Kind
	says  string // must be part of the message
}

func appendTry(stream string, shard uint32, batch []byte) func(context.Context, *cluster.Node) error {
	return func(ctx context.Context, n *cluster.Node) error {
		_, err := appendOnce(ctx, n, stream, shard, batch)
		return err
	}
}

func readTry(stream string, shard uint32, from *levadav1.Position) func(context.Context, *cluster.Node) error {
	return func(ctx context.Context, n *cluster.Node) error {
		_, err := read(ctx, n, &levadav1.ReadRequest{Stream: stream, Shard: shard, From: from})
		return err
	}
}

func adminTry(call func(ctx context.Context, admin levadav1.AdminClient) error) func(context.Context, *cluster.Node) error {
	return func(ctx context.Context, n *cluster.Node) error {
		admin, err := n.Admin()
		if err != nil {
			return err
		}
		if err := call(ctx, admin); err != nil {
			return faultpb.FromStatus(err)
		}
		return nil
	}
}

func atSequence(text string) *levadav1.Position {
	return &levadav1.Position{At: &levadav1.Position_AtSequence{AtSequence: text}}
}

// refusals of a cluster with the stream "s" of two shards.
func refusals() []refusal {
	one := encode([]string{"k"}, 10)
	notFound, invalid := []fault.Kind{fault.NotFound}, []fault.Kind{fault.Invalid}
	tooLarge := []fault.Kind{fault.TooLarge}
	create := func(name string, settings *levadav1.StreamSettings) func(context.Context, *cluster.Node) error {
		return adminTry(func(ctx context.Context, admin levadav1.AdminClient) error {
			_, err := admin.CreateStream(ctx, &levadav1.CreateStreamRequest{Name: name, Settings: settings})
			return err
		})
	}
	return []refusal{
		{"append to an unknown stream", appendTry("nope", 0, one), notFound, "nope"},
		{"append to an unknown shard", appendTry("s", 99, one), notFound, "shard"},
		{"read an unknown stream", readTry("nope", 0, nil), notFound, "nope"},
		{"read an unknown shard", readTry("s", 99, nil), notFound, "shard"},
		{"describe an unknown stream", adminTry(func(ctx context.Context, admin levadav1.AdminClient) error {
			_, err := admin.DescribeStream(ctx, &levadav1.DescribeStreamRequest{Name: "nope"})
			return err
		}), notFound, "nope"},
		{"delete an unknown stream", adminTry(func(ctx context.Context, admin levadav1.AdminClient) error {
			_, err := admin.DeleteStream(ctx, &levadav1.DeleteStreamRequest{Name: "nope"})
			return err
		}), notFound, "nope"},
		{"list the shards of an unknown stream", adminTry(func(ctx context.Context, admin levadav1.AdminClient) error {
			_, err := admin.ListShards(ctx, &levadav1.ListShardsRequest{Stream: "nope"})
			return err
		}), notFound, "nope"},
		{"create a stream that exists with other settings", create("s", &levadav1.StreamSettings{Shards: 3}), []fault.Kind{fault.Conflict}, "s"},
		{"create a stream without a name", create("", &levadav1.StreamSettings{Shards: 1}), invalid, "name"},
		{"create a stream with a bad name", create("a/b c", &levadav1.StreamSettings{Shards: 1}), invalid, "name"},
		{"create a stream with four replicas", create("four", &levadav1.StreamSettings{Shards: 1, Replicas: 4}), invalid, "replicas"},
		{"an empty key", appendTry("s", 0, encode([]string{""}, 10)), invalid, "key"},
		{"a key of 257 characters", appendTry("s", 0, encode([]string{strings.Repeat("k", 257)}, 10)), []fault.Kind{fault.Invalid, fault.TooLarge}, "256"},
		{"a key that is not UTF-8", appendTry("s", 0, encode([]string{"k\xff"}, 10)), invalid, "UTF-8"},
		{"a record above the stream's limit", appendTry("s", 0, encode([]string{"k"}, 1<<20+1)), tooLarge, "1048576"},
		{"a batch above the limit", appendTry("s", 0, encode(slices.Repeat([]string{"k"}, 13), 1000_000)), []fault.Kind{fault.TooLarge, fault.Invalid}, ""},
		{"a batch with no records", appendTry("s", 0, encode(nil, 0)), invalid, "batch"},
		{"a batch cut short", appendTry("s", 0, one[:len(one)-3]), invalid, "batch"},
		{"a batch of garbage", appendTry("s", 0, []byte(strings.Repeat("garbage ", 20))), invalid, "batch"},
		{"a batch with a bad checksum", appendTry("s", 0, append(slices.Clone(one[:len(one)-1]), one[len(one)-1]^1)), invalid, "checksum"},
		{"a batch with unknown flags", appendTry("s", 0, changed(func(b []byte) []byte { b[12] = 0x80; return b })), invalid, "flags"},
		{"a batch that claims more records", appendTry("s", 0, changed(func(b []byte) []byte { b[40]++; return b })), invalid, "batch"},
		{"a record outside the shard's range", func(ctx context.Context, n *cluster.Node) error {
			// The key belongs to one of the two shards: the other must refuse it.
			_, err0 := appendOnce(ctx, n, "s", 0, encode([]string{"k"}, 10))
			_, err1 := appendOnce(ctx, n, "s", 1, encode([]string{"k"}, 10))
			if (err0 == nil) == (err1 == nil) {
				return fault.New(fault.Internal, "one shard must take the key and one refuse it: %v; %v", err0, err1)
			}
			if err0 != nil {
				return err0
			}
			return err1
		}, invalid, ""},
		{"a producer that starts at 5", appendTry("s", 0, changed(func(b []byte) []byte { b[12], b[16], b[32] = 1, 1, 5; return b })), []fault.Kind{fault.StaleProducer}, ""},
		{"a malformed sequence number", readTry("s", 0, atSequence("12x")), invalid, "sequence"},
		{"an empty sequence number", readTry("s", 0, atSequence("")), invalid, "sequence"},
		{"a sequence number of another version", readTry("s", 0, atSequence(strings.Repeat("1", 39))), invalid, "sequence"},
		{"a sequence number of another shard", readTry("s", 0, atSequence(seqno.New(1000, 0, 1).String())), invalid, "shard"},
	}
}

// TestRefusals sends what is wrong to each node of a cluster, and then what is
// right: nobody else is harmed.
func TestRefusals(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), callMax)
	defer cancel()
	if err := c.CreateStream(ctx, "s", &levadav1.StreamSettings{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	for _, test := range refusals() {
		t.Run(test.name, func(t *testing.T) {
			for _, n := range c.Nodes {
				ctx, cancel := context.WithTimeout(t.Context(), callMax)
				defer cancel()
				err := test.try(ctx, n)
				if err == nil {
					t.Fatalf("%s took it", n.Name)
				}
				if !slices.Contains(test.kinds, fault.KindOf(err)) {
					t.Errorf("%s answered with kind %v, want %v: %v", n.Name, fault.KindOf(err), test.kinds, err)
				}
				if !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s answered %q, which does not speak of %q", n.Name, err, test.says)
				}
			}
		})
	}
	t.Run("and then a good batch", func(t *testing.T) { writesWork(t, c, "s", 2) })
	t.Run("a deleted stream", func(t *testing.T) { deletedStream(t, c) })
}

// writesWork writes one record into each shard through each node.
func writesWork(t *testing.T, c *cluster.Cluster, stream string, shards uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callMax)
	defer cancel()
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		for shard := range shards {
			batch := changed(func(b []byte) []byte { b[12] = 1; return b }) // pinned: any shard takes it
			err := cluster.Await(ctx, func(ctx context.Context) error {
				_, err := appendOnce(ctx, n, stream, shard, batch)
				return err
			})
			if err != nil {
				t.Errorf("a good batch through %s to shard %d: %v", n.Name, shard, err)
			}
		}
	}
}

// deletedStream follows a stream on every node while it is deleted: the call must
// end, and the name must then be unknown everywhere.
func deletedStream(t *testing.T, c *cluster.Cluster) {
	ctx, cancel := context.WithTimeout(t.Context(), callMax)
	defer cancel()
	if err := c.CreateStream(ctx, "doomed", &levadav1.StreamSettings{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	writesWork(t, c, "doomed", 1)
	ended := make(chan error, len(c.Nodes))
	for _, n := range c.Nodes {
		go func() {
			_, err := read(ctx, n, &levadav1.ReadRequest{Stream: "doomed", Follow: true, From: cluster.FromOrdinal(0)})
			ended <- err
		}()
	}
	admin, err := c.Nodes[0].Admin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteStream(ctx, &levadav1.DeleteStreamRequest{Name: "doomed"}); err != nil {
		t.Fatal(err)
	}
	for range c.Nodes {
		if err := <-ended; ctx.Err() != nil {
			t.Fatalf("a follower of the deleted stream was not told within %v (%v)", callMax, err)
		} else if err == nil {
			t.Error("a follower of the deleted stream ended without an error")
		}
	}
	for _, n := range c.Nodes {
		err := cluster.Await(ctx, func(ctx context.Context) error {
			if _, err := read(ctx, n, &levadav1.ReadRequest{Stream: "doomed", From: cluster.FromOrdinal(0)}); fault.KindOf(err) != fault.NotFound {
				return fault.New(fault.Internal, "reading it says %v", err)
			}
			if _, err := appendOnce(ctx, n, "doomed", 0, encode([]string{"k"}, 1)); fault.KindOf(err) != fault.NotFound {
				return fault.New(fault.Internal, "appending says %v", err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s still knows the deleted stream: %v", n.Name, err)
		}
	}
}
