package node

import (
	"net"
	"strings"
	"testing"

	"github.com/levada-stream/levada/configs"
)

// TestAnAddressInUseSaysWhichSettingItIs starts listening where another node's Kinesis-compatible API does: at the default address nodes of one machine meet.
func TestAnAddressInUseSaysWhichSettingItIs(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for key, want := range map[string]string{
		"kinesis.listen": `kinesis.listen: port ` + taken.Addr().String() + ` is in use by another process; if that is another node of this machine, set kinesis.listen to another address, or to "" to serve no Kinesis-compatible API here`,
		"listen.http":    `listen.http: port ` + taken.Addr().String() + ` is in use by another process; stop it or choose another address`,
	} {
		cfg := configs.Defaults()
		cfg.Listen.GRPC, cfg.Listen.Raft, cfg.Listen.HTTP, cfg.Kinesis.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", ""
		if key == "kinesis.listen" {
			cfg.Kinesis.Listen = taken.Addr().String()
		} else {
			cfg.Listen.HTTP = taken.Addr().String()
		}
		n := &Node{cfg: cfg}
		p, err := n.listen()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", key, err)
		}
		if err := p.close(); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
