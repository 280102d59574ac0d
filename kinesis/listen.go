package kinesis

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

const (
	// headerTimeout is how long the header of a request may take to arrive, a TLS handshake before it included.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection without a request is kept.
	idleTimeout = 3 * time.Minute
	// requestsPerConnection bounds the requests under way on one connection. A consumer library with a subscription per shard has many.
	requestsPerConnection = 2000
	// streamWindow and connectionWindow are how many bytes a client may send ahead.
	streamWindow, connectionWindow = 1 << 20, 8 << 20
	// pingAfter is how long a connection may be silent before it is asked for a sign of life, pingTimeout how long that may take.
	pingAfter, pingTimeout = 30 * time.Second, 15 * time.Second
)

// NewHTTPServer returns an HTTP server for a handler that speaks what the clients of the API do: HTTP/1.1, and HTTP/2 to whoever begins with its preface, as
// clients do that know beforehand. On a listener made by Secure that is everybody who chose it, and clients that never ask.
func NewHTTPServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, Protocols: protocols,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 32 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: requestsPerConnection, MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connectionWindow,
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
		},
	}
}

// Secure returns a listener whose connections are encrypted. To the HTTP server they look as if they were not: it then goes by what a connection begins with,
// where otherwise it would go by the handshake, in which old clients say nothing of the HTTP/2 that they speak.
func Secure(l net.Listener, config *tls.Config) net.Listener {
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	return secureListener{tls.NewListener(l, config)}
}

type secureListener struct{ net.Listener }

// Accept returns the next connection.
func (l secureListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return secureConn{conn}, nil
}

// secureConn hides that it is a *tls.Conn.
type secureConn struct{ net.Conn }
