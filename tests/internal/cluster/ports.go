package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range that ports are taken from: below the ephemeral ports of every usual
// system, so that no outgoing connection takes a node's port while the node is down.
const (
	portLow  = 12000
	portHigh = 32000
)

// freePorts returns n addresses on loopback whose TCP and UDP ports are free now.
func freePorts(n int) ([]string, error) {
	var out []string
	port := portLow + rand.IntN(portHigh-portLow)
	for range portHigh - portLow {
		if len(out) == n {
			return out, nil
		}
		if port++; port >= portHigh {
			port = portLow
		}
		if addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port)); portFree(addr) {
			out = append(out, addr)
		}
	}
	return nil, fmt.Errorf("found %d free ports instead of %d", len(out), n)
}

func portFree(addr string) bool {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return errors.Join(tcp.Close(), err) == nil
	}
	return errors.Join(tcp.Close(), udp.Close()) == nil
}
