package kinesis

import (
	"testing"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

func TestOnDemandPolicies(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   *levadav1.Scaling
		warm     int64
		min, max uint32 // max 0: left to the cluster
	}{
		{"a new one", nil, 0, 4, 0},
		{"ready for less than it takes anyway", nil, 3, 4, 0},
		{"ready", nil, 100, 100, 0},
		{"ready for more than policies permit by default", nil, 1000, 1000, 1000},
		{"more than a policy permits", &levadav1.Scaling{ShardsMin: 4, ShardsMax: 8}, 10, 10, 10},
		{"as much as a policy permits", &levadav1.Scaling{ShardsMin: 4, ShardsMax: 500}, 500, 500, 500},
		{"no longer", &levadav1.Scaling{ShardsMin: 10, ShardsMax: 256}, 0, 4, 256},
		{"more than anything", nil, 1 << 40, warmMiBpsMax, warmMiBpsMax},
	} {
		if c.before != nil {
			c.before.RecordsPerSecond = 7
		}
		p := onDemandPolicy(c.before, c.warm)
		if p.GetShardsMin() != c.min || p.GetShardsMax() != c.max || !p.GetOnDemand() || p.GetMode() != "on" || p.GetRecordsPerSecond() != c.before.GetRecordsPerSecond() {
			t.Errorf("%s: %v", c.name, p)
		}
	}
}
