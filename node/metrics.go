package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/levada-stream/levada/partition"
)

// metrics reads the counters of the node's parts when Prometheus asks. Labels
// are bounded: none is a stream or a shard, of which there may be many.
type metrics struct {
	n     *Node
	descs map[string]*prometheus.Desc
}

// metricTable is every metric of the node: name, help, and whether it only grows.
var metricTable = []struct {
	name, help string
	counter    bool
}{
	{"levada_shard_replicas", "Shard replicas that run on this node.", false},
	{"levada_shard_replicas_failed", "Shard replicas that should run on this node and cannot. Any is an alarm.", false},
	{"levada_shard_replicas_held", "Shard replicas that the control state has or wants on this node; what the limit counts.", false},
	{"levada_shard_replicas_limit", "Shard replicas that this node takes (limits.shard_replicas_max).", false},
	{"levada_shard_leaders", "Shards that this node leads.", false},
	{"levada_records_total", "Records stored by replicas on this node.", true},
	{"levada_record_bytes_total", "Bytes of batches stored by replicas on this node.", true},
	{"levada_duplicate_records_total", "Records found to be stored already.", true},
	{"levada_rejected_records_total", "Records refused when applied: producer out of order, or shard closed.", true},
	{"levada_entries_total", "Raft entries proposed by shards that this node leads.", true},
	{"levada_throttled_batches_total", "Batches refused for lack of room.", true},
	{"levada_unknown_batches_total", "Batches whose outcome was unknown to this node, after a loss of leadership.", true},
	{"levada_read_bytes_total", "Bytes read from replicas on this node.", true},
	{"levada_diverged_total", "Times a shard log contradicted a snapshot. Any is an alarm.", true},
	{"levada_repeatable_runs", "Runs of records of repeatable calls that replicas of open shards on this node remember.", false},
	{"levada_repeatable_runs_limit", "Beyond so many the shards that this node leads take no repeatable calls.", false},
	{"levada_repeatable_runs_most", "Those of the open shard that has most; from 16384 on it takes no new call.", false},
	{"levada_repeatable_runs_all", "Those of closed shards too, which keep theirs until their records have expired.", false},
	{"levada_append_bytes_in_flight", "Bytes of appends that wait or are under way.", false},
	{"levada_read_bytes_in_flight", "Bytes read for callers that have not taken them yet.", false},
	{"levada_journal_rounds_total", "Journal rounds: one write and one sync each.", true},
	{"levada_journal_bytes_total", "Bytes written to the journal, padding included.", true},
	{"levada_journal_relocated_bytes_total", "Bytes of journal entries written again to free old segments.", true},
	{"levada_journal_segments", "Journal segments in use.", false},
	{"levada_journal_live_bytes", "Bytes of journal entries that groups still hold.", false},
	{"levada_shard_log_dirty_bytes", "Bytes of shard logs not yet written.", false},
	{"levada_shard_log_bytes_total", "Bytes written to shard logs, padding included.", true},
	{"levada_shard_log_syncs_total", "Syncs of shard logs.", true},
	{"levada_disk_free_bytes", "Free bytes where the data directory is, when last looked at.", false},
	{"levada_disk_full", "1 while appends are refused for lack of disk.", false},
	{"levada_nodes_alive", "Nodes that gossip believes alive.", false},
	{"levada_meta_leader", "1 if this node leads the meta group.", false},
	{"levada_streams", "Streams in the cluster.", false},
	{"levada_reshards_preparing", "Splits and merges in the cluster whose shards are being made.", false},
	{"levada_reshards_sealing", "Splits and merges in the cluster whose shards are being handed over: their writers wait.", false},
	{"levada_reshards_begun_total", "Splits and merges begun in the cluster.", true},
	{"levada_reshards_driven_total", "Splits and merges that this node brought to their end.", true},
	{"levada_reshard_seal_seconds_total", "Time of these from their beginning to seal until all parents were sealed.", true},
	{"levada_reshard_hand_over_seconds_total", "Time of these from their beginning to seal until the map named the children.", true},
	{"levada_reshard_hand_over_seconds_max", "The longest of these times.", false},
	{"levada_scaling_events_total", "Decisions about the number of shards in the cluster, held back and advised ones among them.", true},
	{"levada_streams_limit", "Streams beyond which this node creates none (limits.streams_max).", false},
	{"levada_connections", "Connections of clients to the native API.", false},
	{"levada_connections_limit", "Connections to the native API beyond which new ones are closed (limits.connections_max).", false},
	{"levada_connections_refused_total", "Connections to the native API closed because there were too many.", true},
	{"levada_admin_connections", "Connections to the admin port.", false},
	{"levada_admin_connections_limit", "Connections to the admin port beyond which new ones are closed (limits.admin_connections_max).", false},
	{"levada_admin_connections_refused_total", "Connections to the admin port closed because there were too many.", true},
}

func (n *Node) registerMetrics(r *prometheus.Registry) *prometheus.Registry {
	m := &metrics{n: n, descs: map[string]*prometheus.Desc{}}
	for _, row := range metricTable {
		m.descs[row.name] = prometheus.NewDesc(row.name, row.help, nil, nil)
	}
	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	values := m.n.measure()
	for _, row := range metricTable {
		kind := prometheus.GaugeValue
		if row.counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(m.descs[row.name], kind, values[row.name])
	}
}

// measure reads everything once.
func (n *Node) measure() map[string]float64 {
	running, v := n.shards.measured()
	v["levada_shard_replicas_failed"] = float64(n.shards.inTrouble())
	for _, sh := range running {
		v["levada_shard_replicas"]++
		if sh.raft.IsLeader() {
			v["levada_shard_leaders"]++
		}
		s := sh.replica.Stats()
		countReplica(v, s)
		v["levada_repeatable_runs_all"] += float64(s.RepeatableRuns)
		if !s.Closed {
			v["levada_repeatable_runs_most"] = max(v["levada_repeatable_runs_most"], float64(s.RepeatableRuns))
		}
	}
	v["levada_repeatable_runs"] = float64(n.repeatable.Used())
	v["levada_repeatable_runs_limit"] = float64(n.repeatable.Limit())
	v["levada_append_bytes_in_flight"] = float64(n.budget.Used())
	v["levada_read_bytes_in_flight"] = float64(n.readBudget.Used())
	j := n.journal.Stats()
	v["levada_journal_rounds_total"] = float64(j.Rounds)
	v["levada_journal_bytes_total"] = float64(j.WrittenBytes)
	v["levada_journal_relocated_bytes_total"] = float64(j.RelocatedBytes)
	v["levada_journal_segments"] = float64(j.Segments)
	v["levada_journal_live_bytes"] = float64(j.LiveBytes)
	w := n.writer.Stats()
	v["levada_shard_log_dirty_bytes"] = float64(w.DirtyBytes)
	v["levada_shard_log_bytes_total"] = float64(w.WrittenBytes)
	v["levada_shard_log_syncs_total"] = float64(w.Syncs)
	v["levada_disk_free_bytes"] = float64(n.disk.free.Load())
	v["levada_nodes_alive"] = float64(len(n.seen()))
	if n.disk.full.Load() {
		v["levada_disk_full"] = 1
	}
	if n.metaRaft.IsLeader() {
		v["levada_meta_leader"] = 1
	}
	n.measureLimits(v)
	return v
}

// measureLimits adds what is bounded by a number, and the bound.
func (n *Node) measureLimits(v map[string]float64) {
	state := n.metaStore.State()
	v["levada_shard_replicas_held"] = float64(state.HeldReplicas(n.nodeID))
	v["levada_shard_replicas_limit"] = float64(n.cfg.Limits.ShardReplicasMax)
	v["levada_streams"] = float64(state.StreamCount())
	n.reshardTimes.measure(v)
	for r := range state.ActiveReshards() {
		v["levada_reshards_"+string(r.Phase)]++
	}
	v["levada_reshards_begun_total"] = float64(state.ReshardsBegun())
	v["levada_scaling_events_total"] = float64(state.ScalingEvents())
	v["levada_streams_limit"] = float64(n.cfg.Limits.StreamsMax)
	for name, l := range map[string]*limitListener{"levada_connections": n.apiConns, "levada_admin_connections": n.adminConns} {
		c := l.counts()
		v[name], v[name+"_limit"], v[name+"_refused_total"] = float64(c.open), float64(c.most), float64(c.refused)
	}
}

// countReplica adds what only grows of one replica.
func countReplica(v map[string]float64, s partition.Stats) {
	v["levada_records_total"] += float64(s.Records)
	v["levada_record_bytes_total"] += float64(s.Bytes)
	v["levada_duplicate_records_total"] += float64(s.Duplicates)
	v["levada_rejected_records_total"] += float64(s.Rejected)
	v["levada_entries_total"] += float64(s.Entries)
	v["levada_throttled_batches_total"] += float64(s.Throttled)
	v["levada_unknown_batches_total"] += float64(s.Unknown)
	v["levada_read_bytes_total"] += float64(s.ReadBytes)
	v["levada_diverged_total"] += float64(s.Diverged)
}
