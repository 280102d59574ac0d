package membership

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"

	"github.com/levada-stream/levada/internal/fault"
)

// MetaBytesMax bounds an encoded Meta; it travels in single UDP packets.
const MetaBytesMax = memberlist.MetaMaxSize

// metaVersion grows only when older nodes would misread a Meta. Additions need
// no new version, because unknown fields are passed over.
const metaVersion = 1

// Errors about what a node says of itself.
var (
	ErrMetaTooLarge = errors.New("what gossip tells about this node is too long; shorten its name, zone, roles or addresses")
	ErrMetaInvalid  = errors.New("malformed gossip metadata")
)

// Meta is what a node tells the others about itself. The JSON keys are short
// because all of it has to fit into MetaBytesMax bytes.
type Meta struct {
	NodeID       string   `json:"i"`
	Name         string   `json:"n"`
	ClusterID    string   `json:"c,omitempty"` // "" until the node knows its cluster
	Incarnation  uint64   `json:"k,omitempty"`
	RaftAddr     string   `json:"r,omitempty"` // host:port, as all addresses
	GRPCAddr     string   `json:"g,omitempty"`
	HTTPAddr     string   `json:"h,omitempty"`
	Zone         string   `json:"z,omitempty"`
	Roles        []string `json:"o,omitempty"`
	DiskClass    string   `json:"d,omitempty"`
	Bootstrapped bool     `json:"b,omitempty"` // the node has a copy of the control state
	Full         bool     `json:"u,omitempty"` // takes no new replicas
	Leaving      bool     `json:"l,omitempty"` // set by Leave
	Format       int      `json:"f,omitempty"` // version of the node's data directory
}

type metaWire struct {
	Version int `json:"v"`
	Meta
}

// EncodeMeta returns the wire form, ErrMetaTooLarge if it does not fit.
func EncodeMeta(m Meta) ([]byte, error) {
	data, err := json.Marshal(metaWire{metaVersion, m})
	if err != nil {
		return nil, fmt.Errorf("encode gossip metadata: %w", err)
	}
	if len(data) > MetaBytesMax {
		return nil, fault.TooLargeField("meta", MetaBytesMax, "%w: %d bytes, the limit is %d", ErrMetaTooLarge, len(data), MetaBytesMax)
	}
	return data, nil
}

// DecodeMeta reads the wire form. It fails with ErrMetaInvalid.
func DecodeMeta(data []byte) (Meta, error) {
	var w metaWire
	if len(data) > MetaBytesMax {
		return Meta{}, fmt.Errorf("%w: %d bytes", ErrMetaInvalid, len(data))
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return Meta{}, fmt.Errorf("%w: %w", ErrMetaInvalid, err)
	}
	if w.Version != metaVersion || w.NodeID == "" {
		return Meta{}, fmt.Errorf("%w: version %d, node id %q", ErrMetaInvalid, w.Version, w.NodeID)
	}
	return w.Meta, nil
}
