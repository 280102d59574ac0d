package meta

import "github.com/levada-stream/levada/internal/fault"

// InitCluster gives the cluster its identity. Everything else is refused with
// Unavailable before it. Idempotent: the same id and name again changes nothing;
// another id is a Conflict.
type InitCluster struct {
	ClusterID string `json:"cluster_id"` // a new UUID
	Name      string `json:"name"`
	Time      int64  `json:"time"` // unix ms
}

// ClusterResult answers InitCluster and SetCluster.
type ClusterResult struct {
	Version uint64  `json:"version"`
	Cluster Cluster `json:"cluster"`
}

// Type returns "init_cluster".
func (InitCluster) Type() string { return "init_cluster" }

func (c InitCluster) apply(t *txn) (any, error) {
	if err := checkName("cluster_id", c.ClusterID); err != nil {
		return nil, err
	}
	if err := checkName("name", c.Name); err != nil {
		return nil, err
	}
	cluster := &t.next.cluster
	switch {
	case cluster.ID == "":
		cluster.ID, cluster.Name, cluster.Created = c.ClusterID, c.Name, c.Time
		t.events.Cluster = true
	case cluster.ID != c.ClusterID || cluster.Name != c.Name:
		return nil, fault.New(fault.Conflict, "this is cluster %q (%s) already", cluster.Name, cluster.ID)
	}
	return ClusterResult{t.next.version, *cluster}, nil
}

// SetCluster changes the cluster's settings; nil leaves one as it is.
type SetCluster struct {
	DeadGraceSeconds *int64 `json:"dead_grace_seconds,omitempty"`
	RepairPaused     *bool  `json:"repair_paused,omitempty"`
	Time             int64  `json:"time"`
}

// Type returns "set_cluster".
func (SetCluster) Type() string { return "set_cluster" }

func (c SetCluster) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	settings := t.next.cluster.Settings
	if c.DeadGraceSeconds != nil {
		if err := checkRange("dead_grace_seconds", *c.DeadGraceSeconds, 1, DeadGraceSecondsMax); err != nil {
			return nil, err
		}
		settings.DeadGraceSeconds = *c.DeadGraceSeconds
	}
	if c.RepairPaused != nil {
		settings.RepairPaused = *c.RepairPaused
	}
	if settings != t.next.cluster.Settings {
		t.next.cluster.Settings = settings
		t.events.Cluster = true
	}
	return ClusterResult{t.next.version, t.next.cluster}, nil
}
