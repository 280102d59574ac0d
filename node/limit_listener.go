package node

import (
	"net"
	"sync"
)

// limitListener closes connections beyond a number: one that waits in the
// backlog looks connected to its client, and nothing times it out.
type limitListener struct {
	net.Listener
	open chan struct{}
}

func newLimitListener(l net.Listener, most int) *limitListener {
	return &limitListener{l, make(chan struct{}, most)}
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
			_ = conn.Close() // one too many
		}
	}
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
