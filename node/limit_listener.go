package node

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// limitListener closes connections beyond a number: one that waits in the
// backlog looks connected to its client, and nothing times it out. The client is told
// nothing by the connection: a gRPC client that gets as far as the first frame would count the
// attempt as a success and come back at once, where one that is closed before waits longer each time.
type limitListener struct {
	net.Listener
	open    chan struct{}
	refused atomic.Uint64
	key     string // of the setting that limits
	log     hclog.Logger
	said    time.Time // when a refusal was last logged; owned by Accept
}

// refusalsLoggedEvery is how often a listener at its limit says so.
const refusalsLoggedEvery = time.Minute

func newLimitListener(l net.Listener, most int, key string, log hclog.Logger) *limitListener {
	return &limitListener{Listener: l, open: make(chan struct{}, most), key: key, log: log}
}

// Accept returns the next connection that there is room for.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.open <- struct{}{}:
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.open })}, nil
		default:
			l.refused.Add(1) // before the caller can notice
			_ = conn.Close() // one too many
			if now := time.Now(); now.Sub(l.said) >= refusalsLoggedEvery {
				l.said = now
				l.log.Warn("a connection too many was closed", "from", conn.RemoteAddr(), "open", cap(l.open), "setting", l.key, "refused", l.refused.Load())
			}
		}
	}
}

// connectionCounts is what a listener says of itself.
type connectionCounts struct {
	open, most int
	refused    uint64
}

func (l *limitListener) counts() connectionCounts {
	return connectionCounts{len(l.open), cap(l.open), l.refused.Load()}
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close makes room for another.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
