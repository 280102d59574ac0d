package membership

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"
)

// joinLoop contacts seeds until one answers, and from then on, at longer
// intervals, seeds and lost nodes that are not among the living: memberlist
// itself never looks for a node again once it is dead.
func (g *Gossip) joinLoop(ctx context.Context) {
	t := g.opts.Timing
	pause := t.JoinRetryMin
	silent, alone := false, false
	for {
		targets := g.targets(ctx)
		err := g.contact(ctx, targets)
		if len(g.Nodes()) > 1 {
			g.joinedOnce.Do(func() { close(g.joined) })
			if silent {
				g.log.Info("other nodes answer")
			}
			silent, alone, pause = false, false, t.RejoinInterval
		} else {
			switch {
			case ctx.Err() != nil:
			case len(targets) > 0 && !silent:
				g.log.Warn("no other node answers; trying on", "addresses", targets, "error", err)
				silent = true
			case len(targets) == 0 && !alone:
				g.log.Info("no seeds besides this node; waiting to be contacted")
				alone = true
			}
			if pause > t.JoinRetryMax {
				pause = t.JoinRetryMin // the others were there until now
			}
			pause = min(2*pause, t.JoinRetryMax)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// contact exchanges states with each target, one by one so that it ends soon
// after ctx. It returns the last error.
func (g *Gossip) contact(ctx context.Context, targets []string) (last error) {
	for _, target := range targets {
		if ctx.Err() != nil {
			break
		}
		if _, err := g.list.Join([]string{target}); err != nil {
			last = err
		}
	}
	return last
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// targets returns the addresses to contact: seeds and dead nodes, without this
// node and those that are alive.
func (g *Gossip) targets(ctx context.Context) []string {
	var alive []string
	for _, n := range g.Nodes() {
		alive = append(alive, n.Addr)
	}
	wanted := slices.Clone(g.opts.Seeds)
	for _, n := range g.Lost() {
		if n.State == NodeDead {
			wanted = append(wanted, n.Addr)
		}
	}
	var targets []string
	for _, addr := range wanted {
		if !slices.Contains(targets, addr) && !slices.Contains(alive, addr) && !g.isKnown(ctx, addr, alive) {
			targets = append(targets, addr)
		}
	}
	return targets
}

// isKnown reports whether a seed is this node or one of the living, under
// another spelling. A host that cannot be resolved now is not known.
func (g *Gossip) isKnown(ctx context.Context, addr string, alive []string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ips := []net.IP{net.ParseIP(host)}
	if ips[0] == nil {
		if ips, err = net.DefaultResolver.LookupIP(ctx, "ip", host); err != nil {
			return false
		}
	}
	own := strconv.Itoa(g.opts.BindPort)
	for _, ip := range ips {
		if !slices.Contains(alive, net.JoinHostPort(ip.String(), port)) && (port != own || !g.listensOn(ip)) {
			return false
		}
	}
	return true
}

// listensOn reports whether this node listens on ip.
func (g *Gossip) listensOn(ip net.IP) bool {
	bind := net.ParseIP(g.opts.BindAddr)
	if bind != nil && !bind.IsUnspecified() {
		return bind.Equal(ip)
	}
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}
