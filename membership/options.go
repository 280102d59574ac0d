package membership

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/levada-stream/levada/internal/fault"
)

// ErrSecretKey refuses a key of another length than AES takes.
var ErrSecretKey = errors.New("the gossip key must have 16, 24 or 32 bytes")

// Options say who this node is and where it finds others. NodeID and
// ClusterName are required.
type Options struct {
	NodeID      string
	Name        string // for people; two living nodes of one name are reported
	ClusterName string // nodes of other clusters are not heard

	BindAddr      string // address to listen on, TCP and UDP; "" = all
	BindPort      int    // 0 = any free port
	AdvertiseAddr string // told to others; "" = BindAddr, or a private address of this machine
	AdvertisePort int    // 0 = BindPort
	Seeds         []string
	SecretKey     []byte // 16, 24 or 32 bytes; empty = gossip is plain

	Meta   Meta // NodeID and Name are filled in from above
	Timing Timing
	Logger hclog.Logger // nil = silent
}

// Timing of gossip; a zero field takes the default, which suits a data centre.
type Timing struct {
	ProbeInterval    time.Duration // 1 s
	ProbeTimeout     time.Duration // 500 ms
	GossipInterval   time.Duration // 200 ms
	PushPullInterval time.Duration // 30 s; whole state with a random node
	SuspicionMult    int           // 4; a node is dead after about SuspicionMult × log10(nodes+1) × ProbeInterval
	StreamTimeout    time.Duration // 5 s; for TCP; Close may wait for one attempt to join
	ReclaimAfter     time.Duration // 5 s; from then on the id of a dead node may return at another address
	JoinRetryMin     time.Duration // 200 ms; first pause between attempts to join, then doubled
	JoinRetryMax     time.Duration // 5 s
	RejoinInterval   time.Duration // 15 s; between attempts to find lost nodes and silent seeds again
}

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.ProbeInterval, time.Second},
		{&t.ProbeTimeout, 500 * time.Millisecond},
		{&t.GossipInterval, 200 * time.Millisecond},
		{&t.PushPullInterval, 30 * time.Second},
		{&t.StreamTimeout, 5 * time.Second},
		{&t.ReclaimAfter, 5 * time.Second},
		{&t.JoinRetryMin, 200 * time.Millisecond},
		{&t.JoinRetryMax, 5 * time.Second},
		{&t.RejoinInterval, 15 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if t.SuspicionMult == 0 {
		t.SuspicionMult = 4
	}
	return t
}

func (o Options) validate() error {
	switch {
	case o.NodeID == "":
		return fault.InvalidField("node_id", "a node needs an id to gossip")
	case o.ClusterName == "" || len(o.ClusterName) > memberlist.LabelMaxSize:
		return fault.InvalidField("cluster_name", "a cluster name must have 1 to %d bytes", memberlist.LabelMaxSize)
	}
	switch len(o.SecretKey) {
	case 0, 16, 24, 32:
	default:
		return fault.InvalidField("secret_key", "%w, not %d", ErrSecretKey, len(o.SecretKey))
	}
	for _, seed := range o.Seeds {
		if _, err := splitSeed(seed); err != nil {
			return err
		}
	}
	return nil
}

// splitSeed wants host:port.
func splitSeed(seed string) (port int, err error) {
	host, text, err := net.SplitHostPort(seed)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return 0, fault.InvalidField("seeds", "seed %q is not host:port", seed)
	}
	return port, nil
}

// config returns memberlist's form of the options.
func (o Options) config() (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.Name = o.NodeID
	c.Label = o.ClusterName
	c.BindPort = o.BindPort
	c.AdvertisePort = o.AdvertisePort
	c.SecretKey = o.SecretKey
	c.RequireNodeNames = false // seeds are addresses, not ids
	if c.AdvertisePort == 0 {
		c.AdvertisePort = o.BindPort
	}
	var err error
	if c.BindAddr, err = resolve("bind_addr", o.BindAddr); err != nil {
		return nil, err
	}
	if c.BindAddr == "" {
		c.BindAddr = "0.0.0.0"
	}
	if c.AdvertiseAddr, err = resolve("advertise_addr", o.AdvertiseAddr); err != nil {
		return nil, err
	}
	t := o.Timing
	c.ProbeInterval, c.ProbeTimeout = t.ProbeInterval, t.ProbeTimeout
	c.GossipInterval, c.PushPullInterval = t.GossipInterval, t.PushPullInterval
	c.SuspicionMult, c.TCPTimeout = t.SuspicionMult, t.StreamTimeout
	c.DeadNodeReclaimTime = t.ReclaimAfter
	return c, nil
}

// resolve returns the IP address of a host; memberlist takes nothing else, and
// silently listens everywhere when it is given a name.
func resolve(field, host string) (string, error) {
	if host == "" || net.ParseIP(host) != nil {
		return host, nil
	}
	addr, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", fault.InvalidField(field, "cannot resolve %q: %w", host, err)
	}
	return addr.IP.String(), nil
}

// listenError names what an operator can do about it.
func listenError(o Options, err error) error {
	return fmt.Errorf("gossip on %s: %w", net.JoinHostPort(o.BindAddr, strconv.Itoa(o.BindPort)), err)
}
