package membership

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/internal/fault"
)

// fast suits instances on one machine.
var fast = Timing{
	ProbeInterval: 100 * time.Millisecond, ProbeTimeout: 80 * time.Millisecond, GossipInterval: 20 * time.Millisecond,
	PushPullInterval: 300 * time.Millisecond, StreamTimeout: 2 * time.Second, ReclaimAfter: time.Millisecond,
	JoinRetryMin: 10 * time.Millisecond, JoinRetryMax: 40 * time.Millisecond, RejoinInterval: 100 * time.Millisecond,
}

type change func(*Options)

func start(t *testing.T, id string, seeds []string, changes ...change) *Gossip {
	t.Helper()
	o := Options{
		NodeID: id, Name: "name-" + id, ClusterName: "test", BindAddr: "127.0.0.1", Seeds: seeds, Timing: fast,
		Meta: Meta{RaftAddr: "127.0.0.1:1", Zone: "z1"},
	}
	for _, c := range changes {
		c(&o)
	}
	g, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return g
}

// await returns once the condition holds; it is asked again at every change.
func await(t *testing.T, g *Gossip, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-g.Changed():
		case <-limit.C:
			t.Fatalf("%s: not within 20 s; %s sees %v, lost %v", what, g.opts.NodeID, ids(g.Nodes()), ids(g.Lost()))
		}
	}
}

func ids(nodes []Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.NodeID)
	}
	return out
}

func sees(g *Gossip, want ...string) func() bool {
	return func() bool { return slices.Equal(ids(g.Nodes()), want) }
}

// trio returns three nodes that see each other.
func trio(t *testing.T, changes ...change) []*Gossip {
	t.Helper()
	a := start(t, "a", nil, changes...)
	b := start(t, "b", []string{a.Addr()}, changes...)
	c := start(t, "c", []string{b.Addr()}, changes...)
	for _, g := range []*Gossip{a, b, c} {
		await(t, g, "three nodes", sees(g, "a", "b", "c"))
	}
	return []*Gossip{a, b, c}
}

func TestNodesFindEachOtherAndTheirNews(t *testing.T) {
	key := []byte("0123456789abcdef")
	nodes := trio(t, func(o *Options) { o.SecretKey = key })
	<-nodes[2].Joined()
	n, ok := nodes[0].Node("c")
	want := Node{Meta: Meta{NodeID: "c", Name: "name-c", RaftAddr: "127.0.0.1:1", Zone: "z1"}, Addr: nodes[2].Addr(), State: NodeAlive, Since: n.Since}
	if diff := cmp.Diff(want, n); !ok || diff != "" {
		t.Errorf("node c (-want +got):\n%s", diff)
	}
	news := Meta{NodeID: "ignored", Name: "ignored", ClusterID: "cluster-1", Zone: "z2", Bootstrapped: true}
	if err := nodes[2].UpdateMeta(news); err != nil {
		t.Fatal(err)
	}
	news.NodeID, news.Name = "c", "name-c"
	for _, g := range nodes {
		await(t, g, "news of c", func() bool {
			n, _ := g.Node("c")
			return cmp.Equal(n.Meta, news)
		})
	}
	if err := nodes[2].UpdateMeta(Meta{Zone: strings.Repeat("z", MetaBytesMax)}); !errors.Is(err, ErrMetaTooLarge) || fault.KindOf(err) != fault.TooLarge {
		t.Errorf("too long metadata: %v", err)
	}
}

func TestDeathIsNoticedAndTheReturnToo(t *testing.T) {
	nodes := trio(t)
	a, c := nodes[0], nodes[2]
	port := int(c.list.LocalNode().Port)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, g := range nodes[:2] {
		await(t, g, "c is gone", sees(g, "a", "b"))
		if lost := g.Lost(); len(lost) != 1 || lost[0].NodeID != "c" || lost[0].State != NodeDead {
			t.Errorf("lost %+v", lost)
		}
	}
	// No seeds: the others have to look for it.
	back := start(t, "c", nil, func(o *Options) { o.BindPort = port })
	await(t, a, "c is back", sees(a, "a", "b", "c"))
	await(t, back, "c sees all", sees(back, "a", "b", "c"))
	if lost := a.Lost(); len(lost) != 0 {
		t.Errorf("still lost: %v", lost)
	}
}

func TestLeavingIsToldFromDying(t *testing.T) {
	nodes := trio(t)
	a, b := nodes[0], nodes[1]
	if err := b.Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := b.Leave(5 * time.Second); err != nil {
		t.Errorf("leaving twice: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, a, "b left", func() bool {
		n, ok := a.Node("b")
		return ok && n.State == NodeLeft
	})
	if err := b.Leave(time.Second); !errors.Is(err, ErrClosed) {
		t.Errorf("leave after close: %v", err)
	}
	if err := b.UpdateMeta(Meta{}); !errors.Is(err, ErrClosed) {
		t.Errorf("update after close: %v", err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	key := func(k string) change { return func(o *Options) { o.SecretKey = []byte(k) } }
	label := func(l string) change { return func(o *Options) { o.ClusterName = l } }
	for _, c := range []struct {
		name     string
		us, them change
	}{
		{"other key", key("0123456789abcdef"), key("fedcba9876543210")},
		{"no key there", key("0123456789abcdef"), key("")},
		{"no key here", key(""), key("0123456789abcdef")},
		{"other cluster name", label("one"), label("two")},
	} {
		t.Run(c.name, func(t *testing.T) {
			us := start(t, "us", nil, c.us)
			them := start(t, "them", nil, c.them)
			if n, err := them.list.Join([]string{us.Addr()}); err == nil || n != 0 {
				t.Errorf("reached %d nodes, error %v", n, err)
			}
			if !sees(us, "us")() || !sees(them, "them")() {
				t.Errorf("us %v, them %v", ids(us.Nodes()), ids(them.Nodes()))
			}
		})
	}
}

func TestOtherClusterOfTheSameNameIsRefused(t *testing.T) {
	cluster := func(id string) change { return func(o *Options) { o.Meta.ClusterID = id } }
	us := start(t, "us", nil, cluster("one"))
	young := start(t, "young", []string{us.Addr()}) // knows no cluster yet
	await(t, us, "a node without a cluster comes in", sees(us, "us", "young"))
	us.Events()
	them := start(t, "them", []string{us.Addr()}, cluster("two"))
	var refused []Event
	await(t, us, "refusal", func() bool {
		refused = append(refused, slices.DeleteFunc(us.Events(), func(e Event) bool { return e.Kind != EventRefused })...)
		return len(refused) > 0
	})
	if e := refused[0]; e.Node.NodeID != "them" || e.Node.ClusterID != "two" {
		t.Errorf("refused %+v", e)
	}
	if !sees(us, "us", "young")() || slices.Contains(ids(them.Nodes()), "us") {
		t.Errorf("us %v, them %v, young %v", ids(us.Nodes()), ids(them.Nodes()), ids(young.Nodes()))
	}
}

func TestConflictsAreReportedAndHarmNobody(t *testing.T) {
	a := start(t, "a", nil)
	twin := start(t, "b", []string{a.Addr()}, func(o *Options) { o.Name = "name-a" })
	found := func(g *Gossip, kind EventKind) func() bool {
		return func() bool { return slices.ContainsFunc(g.Events(), func(e Event) bool { return e.Kind == kind }) }
	}
	await(t, a, "one name, two ids", found(a, EventNameConflict))
	await(t, twin, "one name, two ids", found(twin, EventNameConflict))
	if !sees(a, "a", "b")() {
		t.Errorf("a sees %v", ids(a.Nodes()))
	}
	start(t, "b", []string{a.Addr()})
	await(t, a, "one id, two addresses", found(a, EventIDConflict))
}

func TestFiveNodesThroughOneSeed(t *testing.T) {
	first := start(t, "n0", nil)
	nodes := []*Gossip{first}
	want := []string{"n0"}
	for i := range 4 {
		id := fmt.Sprintf("n%d", i+1)
		nodes = append(nodes, start(t, id, []string{first.Addr()}))
		want = append(want, id)
	}
	for _, g := range nodes {
		await(t, g, "five nodes", sees(g, want...))
	}
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), text)
}

// A seed that hangs up is tried again and again, and logged once.
func TestSilentSeedIsLoggedOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	knocks := make(chan struct{}, 64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
			select {
			case knocks <- struct{}{}:
			default:
			}
		}
	}()
	var out syncBuffer
	g := start(t, "a", []string{listener.Addr().String()}, func(o *Options) {
		o.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info})
	})
	for range 5 {
		select {
		case <-knocks:
		case <-time.After(20 * time.Second):
			t.Fatal("the seed is not tried again")
		}
	}
	if n := out.count("no other node answers"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	select {
	case <-g.Joined():
		t.Error("joined with nobody")
	default:
	}
	other := start(t, "b", []string{g.Addr()})
	await(t, other, "two nodes", sees(other, "a", "b"))
	<-g.Joined()
}

func TestOwnAddressAsSeedIsHarmless(t *testing.T) {
	g := start(t, "a", nil, func(o *Options) { o.BindAddr, o.AdvertiseAddr = "0.0.0.0", "127.0.0.1" })
	other := start(t, "b", nil)
	g.stop()
	g.wg.Wait() // the loop reads what is changed below
	_, port, err := net.SplitHostPort(g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	g.opts.Seeds = []string{g.Addr(), "localhost:" + port, other.Addr(), "0.0.0.0:" + port}
	if diff := cmp.Diff([]string{other.Addr()}, g.targets(t.Context())); diff != "" {
		t.Errorf("would contact (-want +got):\n%s", diff)
	}
}

func TestNodesOfAnotherClusterVanishOnceTheOwnIsKnown(t *testing.T) {
	a := start(t, "a", nil)
	b := start(t, "b", []string{a.Addr()}, func(o *Options) { o.Meta.ClusterID = "theirs" })
	await(t, a, "two nodes", sees(a, "a", "b"))
	await(t, b, "two nodes", sees(b, "a", "b"))
	if err := a.UpdateMeta(Meta{ClusterID: "ours"}); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Node("b"); ok || !sees(a, "a")() {
		t.Errorf("a still sees %v", ids(a.Nodes()))
	}
}

func TestStartRefuses(t *testing.T) {
	taken := start(t, "taken", nil)
	good := Options{NodeID: "a", ClusterName: "c", BindAddr: "127.0.0.1", Timing: fast}
	for _, c := range []struct {
		name   string
		change change
		field  string
	}{
		{"no id", func(o *Options) { o.NodeID = "" }, "node_id"},
		{"no cluster", func(o *Options) { o.ClusterName = "" }, "cluster_name"},
		{"short key", func(o *Options) { o.SecretKey = []byte("short") }, "secret_key"},
		{"seed without port", func(o *Options) { o.Seeds = []string{"localhost"} }, "seeds"},
		{"seed with a bad port", func(o *Options) { o.Seeds = []string{"localhost:0"} }, "seeds"},
		{"too much to tell", func(o *Options) { o.Name = strings.Repeat("n", 600) }, "meta"},
		{"port in use", func(o *Options) { o.BindPort = int(taken.list.LocalNode().Port) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good
			c.change(&o)
			g, err := Start(o)
			if err == nil {
				g.Close()
				t.Fatal("started")
			}
			if f := fault.As(err); c.field != "" && (f == nil || f.Field != c.field) {
				t.Errorf("error %v, want one about %s", err, c.field)
			}
		})
	}
}
