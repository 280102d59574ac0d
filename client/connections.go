package client

import (
	"slices"
	"sync"

	"google.golang.org/grpc"
)

// connections holds one gRPC connection per node address, opened on first use
// and kept: gRPC itself drops the socket of one that is idle for minutes.
type connections struct {
	options []grpc.DialOption
	seeds   []string // as given to Dial; immutable

	mu      sync.Mutex
	byAddr  map[string]*grpc.ClientConn
	learned []string // of nodes that a map named, newest map last
	next    int      // index into candidates of the node that answered last
	closed  bool
}

// learnedMax bounds the addresses remembered beside the seeds.
const learnedMax = 64

func newConnections(seeds []string, options []grpc.DialOption) *connections {
	return &connections{options: options, seeds: seeds, byAddr: map[string]*grpc.ClientConn{}}
}

// get returns the connection to address. It does not wait for it to open.
func (c *connections) get(address string) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, closedError("client")
	}
	if cc := c.byAddr[address]; cc != nil {
		return cc, nil
	}
	// passthrough: names are resolved by the dialer at each connect, so that a
	// node that moved is found again.
	cc, err := grpc.NewClient("passthrough:///"+address, c.options...)
	if err != nil {
		return nil, &Error{Kind: Invalid, Field: "endpoint", Message: "endpoint " + address + ": " + err.Error(), cause: err}
	}
	c.byAddr[address] = cc
	return cc, nil
}

// learn remembers the addresses of nodes, dropping the oldest beyond a bound.
func (c *connections) learn(addresses []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range addresses {
		if i := slices.Index(c.learned, a); i >= 0 {
			c.learned = slices.Delete(c.learned, i, i+1)
		}
		c.learned = append(c.learned, a)
	}
	if over := len(c.learned) - learnedMax; over > 0 {
		c.learned = slices.Clone(c.learned[over:])
	}
}

// candidates returns every known address, the one that answered last first.
func (c *connections) candidates() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.seeds)
	for _, a := range c.learned {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	start := c.next % len(all)
	return append(all[start:len(all):len(all)], all[:start]...)
}

// rotate moves the preference away from an address that failed.
func (c *connections) rotate(failed string) {
	all := c.candidates()
	c.mu.Lock()
	defer c.mu.Unlock()
	if all[0] == failed {
		c.next++
	}
}

func (c *connections) close() {
	c.mu.Lock()
	all := c.byAddr
	c.byAddr, c.closed = nil, true
	c.mu.Unlock()
	for _, cc := range all {
		_ = cc.Close() // only ever "already closing"
	}
}
