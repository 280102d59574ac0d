package configs

// Key documents one setting. It is the only place where a key's meaning, limits
// and environment variable are written down.
type Key struct {
	// Path is the key's place in the file, with dots: "listen.grpc".
	Path string
	// Doc says what the setting does, in one or a few sentences.
	Doc string
	// Env reports that the key can be set by the variable EnvName.
	Env bool
	// Secret reports that the value must not be shown.
	Secret bool
	// OneOf lists the values allowed; empty means any.
	OneOf []string
	// Min and Max bound numbers, sizes and durations (in nanoseconds),
	// inclusively. Both 0 means no bound.
	Min, Max int64
}

const (
	millisecond = int64(1e6)
	second      = 1000 * millisecond
	hour        = 3600 * second
)

// sectionDocs introduces each section, in the order of the file.
var sectionDocs = [...]struct{ name, doc string }{
	{"cluster", "What is the same on every node of one cluster."},
	{"node", "What this node tells the others about itself."},
	{"listen", "Addresses to listen on, host:port. Port 0 takes any free port. Set TLS before you leave loopback."},
	{"advertise", "Addresses that others are told to use, where they differ from the listen addresses. An empty one means the listen address; if that has no host, the address of this machine's first network interface."},
	{"seeds", ""},
	{"kinesis", "The Kinesis-compatible API; docs/kinesis.md tells what of it there is."},
	{"tls", "Certificates, in PEM files, that are read again when they change. Each port switches TLS on by itself."},
	{"storage", "Sizes of the shard logs, the journal and their caches."},
	{"raft", "Timing of consensus. Use the same values on every node."},
	{"limits", "Bounds on what clients can make this node and the cluster hold or do. How many replicas a node can carry is reasoned out in docs/sizing.md."},
	{"log", "The log, on standard error."},
}

// keyTable lists every setting in the order of the file.
var keyTable = [...]Key{
	{Path: "cluster.name", Env: true, Doc: "Name of the cluster. A node never joins one of another name."},
	{Path: "cluster.expect_nodes", Min: 1, Max: 1000, Doc: "How many nodes must see each other before a new cluster forms. It keeps a partly started cluster from forming twice; a node that already belongs to a cluster ignores it."},
	{Path: "cluster.secret_key", Env: true, Secret: true, Doc: "Key that encrypts gossip: 16, 24 or 32 bytes in base64 (openssl rand -base64 32). Empty: gossip is plain."},
	{Path: "cluster.secret_key_file", Env: true, Doc: "File that holds the key instead, in base64."},
	{Path: "node.name", Env: true, Doc: "Name of this node, unique in the cluster. Empty: the machine's host name."},
	{Path: "node.zone", Env: true, Doc: "Availability zone. The replicas of a shard are spread over as many zones as there are."},
	{Path: "node.roles", OneOf: []string{"control", "ingest", "storage", "retrieval", "processing"}, Doc: "What this node may be used for. Only nodes with storage hold replicas."},
	{Path: "node.labels", Doc: "Free labels, shown and usable for placement."},
	{Path: "node.disk_class", Doc: "Class of the disk under data_dir, for example ssd or hdd."},
	{Path: "node.data_dir", Env: true, Doc: "Directory of everything this node keeps. One node, one directory; an empty one makes a new node."},
	{Path: "listen.grpc", Env: true, Doc: "Native API."},
	{Path: "listen.raft", Env: true, Doc: "Traffic between nodes: consensus and catch-up."},
	{Path: "listen.gossip", Env: true, Doc: "Gossip, TCP and UDP on the same port."},
	{Path: "listen.http", Env: true, Doc: "Health, readiness and metrics; profiles (pprof) for callers on loopback only."},
	{Path: "advertise.grpc", Env: true, Doc: "Native API address told to clients and nodes."},
	{Path: "advertise.raft", Env: true, Doc: "Node traffic address told to nodes."},
	{Path: "advertise.gossip", Env: true, Doc: "Gossip address told to nodes."},
	{Path: "advertise.http", Env: true, Doc: "Admin address shown to people."},
	{Path: "seeds", Env: true, Doc: "Gossip addresses of other nodes. One that is up is enough; naming this very node is harmless."},
	{Path: "kinesis.listen", Env: true, Doc: "Address to listen on, host:port. Empty: the API is not served."},
	{Path: "kinesis.account_id", Env: true, Doc: "Account that owns all streams, twelve digits: it stands in their ARNs. Use the same value on every node."},
	{Path: "kinesis.region", Env: true, Doc: "Region in the streams' ARNs, and in the signatures of requests. Use the same value on every node."},
	{Path: "kinesis.anonymous", Env: true, Doc: "Let everybody who reaches the port do everything, whatever keys they use. Without it a request must be signed with a key of kinesis.keys_file or one made with levada key create."},
	{Path: "kinesis.keys_file", Env: true, Doc: "YAML file with access keys of this node and what each may do. It is read again when it changes. Its keys go before those of the same id that the cluster keeps (levada key create). Empty: there are none but those."},
	{Path: "kinesis.limits", OneOf: []string{"none", "kinesis"}, Doc: "Rates that the API holds each shard to: none, or those of Amazon Kinesis (1 MiB/s and 1,000 records/s written, 2 MiB/s and 5 calls/s read, with a second's worth at once). Use the same value on every node."},
	{Path: "tls.ca", Env: true, Doc: "Certificates of the authorities that sign nodes and clients."},
	{Path: "tls.cert", Env: true, Doc: "This node's certificate chain."},
	{Path: "tls.key", Env: true, Doc: "The private key of tls.cert."},
	{Path: "tls.client_auth", OneOf: []string{"none", "optional", "require"}, Doc: "Whether clients of the native API and the admin port must show a certificate signed by tls.ca. Nodes always do so to each other."},
	{Path: "tls.server_name", Doc: "Name that the other nodes' certificates must carry, where their addresses do not match it. Empty: the host of the address dialled."},
	{Path: "tls.grpc", Doc: "TLS on the native API."},
	{Path: "tls.raft", Doc: "TLS between nodes, both sides proving themselves."},
	{Path: "tls.http", Doc: "TLS on the admin port."},
	{Path: "tls.kinesis", Doc: "TLS on the Kinesis-compatible API. Its clients prove themselves by their signatures, not by certificates."},
	{Path: "storage.segment_bytes", Min: int64(MiB), Max: int64(64 * GiB), Doc: "Size at which a shard log starts its next file. Retention deletes whole files."},
	{Path: "storage.dirty_bytes_max", Min: int64(16 * MiB), Max: int64(TiB), Doc: "Bytes of all shard logs held in memory until they are written; appends wait beyond it. They are safe in the journal meanwhile."},
	{Path: "storage.flush_interval", Min: millisecond, Max: hour, Doc: "Age at which bytes of a shard log are written at the latest."},
	{Path: "storage.journal_segment_bytes", Min: int64(16 * MiB), Max: int64(GiB), Doc: "Size of one journal file; files are recycled."},
	{Path: "storage.journal_bytes_max", Min: int64(64 * MiB), Max: int64(TiB), Doc: "Size of the journal that compaction keeps it near. At least four segments."},
	{Path: "storage.journal_cache_bytes", Min: 0, Max: int64(TiB), Doc: "Recent journal entries kept in memory for followers that lag a little."},
	{Path: "storage.read_cache_bytes", Min: 0, Max: int64(TiB), Doc: "Recently written blocks kept in memory for readers at the tail."},
	{Path: "storage.direct_io", OneOf: []string{"auto", "on", "off"}, Doc: "Write, and read in bulk, past the page cache: where the file system can (auto), always or fail (on), never (off)."},
	{Path: "raft.heartbeat", Min: 10 * millisecond, Max: 60 * second, Doc: "A follower that has not heard of its leader for this long starts an election. The leader sends about ten times as often."},
	{Path: "raft.election", Min: 10 * millisecond, Max: 60 * second, Doc: "A candidate without an outcome tries again after this. At least raft.heartbeat."},
	{Path: "raft.leader_lease", Min: 5 * millisecond, Max: 60 * second, Doc: "A leader that cannot reach a majority for this long steps down. At most raft.heartbeat."},
	{Path: "raft.commit", Min: millisecond, Max: 60 * second, Doc: "An idle leader tells its followers of the last commit after this."},
	{Path: "raft.snapshot_entries", Min: 64, Max: 1 << 24, Doc: "Entries after which a shard takes a snapshot of its metadata, so that the journal can be recycled and a restart is quick."},
	{Path: "limits.record_bytes_max", Min: 1024, Max: int64(10 * MiB), Doc: "Largest record, key included, that a stream on this node may allow."},
	{Path: "limits.append_bytes_in_flight_max", Min: int64(16 * MiB), Max: int64(TiB), Doc: "Bytes received and not yet acknowledged, over all shards; beyond it appends are refused as throttled."},
	{Path: "limits.append_bytes_in_flight_max_per_shard", Min: int64(12 * MiB), Max: int64(TiB), Doc: "The same for one shard."},
	{Path: "limits.read_bytes_in_flight_max", Min: int64(16 * MiB), Max: int64(TiB), Doc: "Bytes read for calls that push to readers and not yet taken by these; beyond it reads wait. A reader that takes nothing for a minute is disconnected and may go on from its position."},
	{Path: "limits.shard_replicas_max", Min: 1, Max: 1 << 20, Doc: "Shard replicas that this node takes. A stream that would need more on a node is refused; replicas that replace lost ones go to a node with room if there is one, and to any if there is none. Each node may have its own."},
	{Path: "limits.streams_max", Min: 1, Max: 1 << 20, Doc: "Streams in the cluster; beyond it creation is refused. The node that is asked to create a stream decides: use the same value on every node."},
	{Path: "limits.shards_per_stream_max", Min: 1, Max: 10_000, Doc: "Open shards that a stream may have. Use the same value on every node."},
	{Path: "limits.connections_max", Min: 1, Max: 1 << 20, Doc: "Client connections to the native API, and as many to the Kinesis-compatible one; beyond it new ones are closed at once, and clients try again after growing pauses."},
	{Path: "limits.admin_connections_max", Min: 1, Max: 1 << 20, Doc: "Connections to the admin port; beyond it new ones are closed."},
	{Path: "limits.calls_per_connection_max", Min: 1, Max: 1 << 20, Doc: "Concurrent calls on one connection."},
	{Path: "limits.handshake_timeout", Min: 100 * millisecond, Max: 60 * second, Doc: "A connection that has not introduced itself within this is closed."},
	{Path: "limits.shutdown_timeout", Min: 0, Max: hour, Doc: "How long a stopping node goes on handing its shards to other nodes. Calls that have not ended a second later, or this much later if that is less, are cut."},
	{Path: "log.level", Env: true, OneOf: []string{"trace", "debug", "info", "warn", "error"}, Doc: "Least severe level logged."},
	{Path: "log.format", Env: true, OneOf: []string{"text", "json"}, Doc: "One line of text or one JSON object per event."},
}

// Keys returns the documentation of every setting in the order of the file.
func Keys() []Key { return append([]Key(nil), keyTable[:]...) }
