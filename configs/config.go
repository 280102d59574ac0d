package configs

import "time"

// Config is everything one node is told. Start from Defaults, or use Load.
type Config struct {
	Cluster   Cluster   `yaml:"cluster"`
	Node      Node      `yaml:"node"`
	Listen    Addresses `yaml:"listen"`
	Advertise Addresses `yaml:"advertise"`
	// Seeds are gossip addresses of other nodes, at least one of which should be up.
	Seeds   []string `yaml:"seeds"`
	Kinesis Kinesis  `yaml:"kinesis"`
	TLS     TLS      `yaml:"tls"`
	Storage Storage  `yaml:"storage"`
	Raft    Raft     `yaml:"raft"`
	Limits  Limits   `yaml:"limits"`
	Log     Log      `yaml:"log"`
}

// Cluster holds what is the same on every node of a cluster.
type Cluster struct {
	Name          string `yaml:"name"`
	ExpectNodes   int    `yaml:"expect_nodes"`
	SecretKey     Secret `yaml:"secret_key"`
	SecretKeyFile string `yaml:"secret_key_file"`
}

// Node describes this node to the others.
type Node struct {
	Name      string            `yaml:"name"`
	Zone      string            `yaml:"zone"`
	Roles     []string          `yaml:"roles"`
	Labels    map[string]string `yaml:"labels"`
	DiskClass string            `yaml:"disk_class"`
	DataDir   string            `yaml:"data_dir"`
}

// Addresses are the four host:port addresses of a node.
type Addresses struct {
	GRPC   string `yaml:"grpc"`
	Raft   string `yaml:"raft"`
	Gossip string `yaml:"gossip"`
	HTTP   string `yaml:"http"`
}

// Kinesis sets up the Kinesis-compatible API.
type Kinesis struct {
	Listen    string `yaml:"listen"`
	AccountID string `yaml:"account_id"`
	Region    string `yaml:"region"`
	Anonymous bool   `yaml:"anonymous"`
	KeysFile  string `yaml:"keys_file"`
	Limits    string `yaml:"limits"`
}

// TLS names the certificate files and the ports that use them.
type TLS struct {
	CA         string `yaml:"ca"`
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ClientAuth string `yaml:"client_auth"`
	ServerName string `yaml:"server_name"`
	GRPC       bool   `yaml:"grpc"`
	Raft       bool   `yaml:"raft"`
	HTTP       bool   `yaml:"http"`
	Kinesis    bool   `yaml:"kinesis"`
}

// Enabled reports whether any port uses TLS.
func (t TLS) Enabled() bool { return t.GRPC || t.Raft || t.HTTP || t.Kinesis }

// Storage sizes the shard logs and the journal.
type Storage struct {
	SegmentBytes        ByteSize `yaml:"segment_bytes"`
	DirtyBytesMax       ByteSize `yaml:"dirty_bytes_max"`
	FlushInterval       Duration `yaml:"flush_interval"`
	JournalSegmentBytes ByteSize `yaml:"journal_segment_bytes"`
	JournalBytesMax     ByteSize `yaml:"journal_bytes_max"`
	JournalCacheBytes   ByteSize `yaml:"journal_cache_bytes"`
	ReadCacheBytes      ByteSize `yaml:"read_cache_bytes"`
	DirectIO            string   `yaml:"direct_io"`
}

// Raft sets the timing of consensus.
type Raft struct {
	Heartbeat       Duration `yaml:"heartbeat"`
	Election        Duration `yaml:"election"`
	LeaderLease     Duration `yaml:"leader_lease"`
	Commit          Duration `yaml:"commit"`
	SnapshotEntries int      `yaml:"snapshot_entries"`
}

// Limits bound what clients can make a node do or hold.
type Limits struct {
	RecordBytesMax                 ByteSize `yaml:"record_bytes_max"`
	AppendBytesInFlightMax         ByteSize `yaml:"append_bytes_in_flight_max"`
	AppendBytesInFlightMaxPerShard ByteSize `yaml:"append_bytes_in_flight_max_per_shard"`
	ReadBytesInFlightMax           ByteSize `yaml:"read_bytes_in_flight_max"`
	ShardReplicasMax               int      `yaml:"shard_replicas_max"`
	StreamsMax                     int      `yaml:"streams_max"`
	ShardsPerStreamMax             int      `yaml:"shards_per_stream_max"`
	ConnectionsMax                 int      `yaml:"connections_max"`
	AdminConnectionsMax            int      `yaml:"admin_connections_max"`
	CallsPerConnectionMax          int      `yaml:"calls_per_connection_max"`
	HandshakeTimeout               Duration `yaml:"handshake_timeout"`
	ShutdownTimeout                Duration `yaml:"shutdown_timeout"`
}

// Log sets how much is logged and in which form.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Default ports of a node. The dev cluster and the ready-made files give the
// n-th node, from 0, these plus 10n.
const (
	DefaultGRPCPort   = 7400
	DefaultRaftPort   = 7401
	DefaultGossipPort = 7402
	DefaultHTTPPort   = 7403
	// DefaultKinesisPort is where programs that were made for a local Kinesis look.
	DefaultKinesisPort = 4567
)

// Defaults returns the configuration of an empty file: a node of a cluster of
// three that listens on loopback. The result shares nothing with other calls.
func Defaults() Config {
	return Config{
		Cluster: Cluster{Name: "levada", ExpectNodes: 3},
		Node: Node{
			Roles: []string{"control", "ingest", "storage", "retrieval"}, Labels: map[string]string{},
			DiskClass: "ssd", DataDir: "./levada-data",
		},
		Listen: Addresses{
			GRPC: "127.0.0.1:7400", Raft: "127.0.0.1:7401", Gossip: "127.0.0.1:7402", HTTP: "127.0.0.1:7403",
		},
		Seeds:   []string{},
		Kinesis: Kinesis{Listen: "127.0.0.1:4567", AccountID: "000000000000", Region: "us-east-1", Limits: "none"},
		TLS:     TLS{ClientAuth: "none"},
		Storage: Storage{
			SegmentBytes: 256 * MiB, DirtyBytesMax: 128 * MiB, FlushInterval: Duration(2 * time.Second),
			JournalSegmentBytes: 64 * MiB, JournalBytesMax: GiB, JournalCacheBytes: 64 * MiB,
			ReadCacheBytes: 32 * MiB, DirectIO: "auto",
		},
		Raft: Raft{
			Heartbeat: Duration(time.Second), Election: Duration(time.Second),
			LeaderLease: Duration(time.Second), Commit: Duration(time.Second), SnapshotEntries: 4096,
		},
		Limits: Limits{
			RecordBytesMax:         10 * MiB,
			AppendBytesInFlightMax: 128 * MiB, AppendBytesInFlightMaxPerShard: 32 * MiB,
			ReadBytesInFlightMax: 128 * MiB,
			ShardReplicasMax:     2000, StreamsMax: 10_000, ShardsPerStreamMax: 10_000,
			ConnectionsMax: 4096, AdminConnectionsMax: 256, CallsPerConnectionMax: 4096,
			HandshakeTimeout: Duration(5 * time.Second), ShutdownTimeout: Duration(10 * time.Second),
		},
		Log: Log{Level: "info", Format: "text"},
	}
}
