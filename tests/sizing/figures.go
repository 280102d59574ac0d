package main

import "flag"

// cluster is what is to be sized.
type cluster struct {
	nodes, lost    int
	shards, copies int
	active         float64 // share of the shards that hold records
	mbps           float64 // MB of records a second into the whole cluster
	clients        int     // connections of clients to each node

	// What each node has.
	memory      float64 // MB
	cores       float64
	diskMBps    float64
	descriptors int
	replicasMax int // limits.shard_replicas_max
}

func defaultCluster() cluster {
	return cluster{
		nodes: 3, shards: 1000, copies: 3, active: 1, mbps: 50, clients: 100,
		memory: 16_000, cores: 8, diskMBps: 400, descriptors: 65_536, replicasMax: 2000,
	}
}

func (c *cluster) register(f *flag.FlagSet) {
	f.IntVar(&c.nodes, "nodes", c.nodes, "nodes of the cluster")
	f.IntVar(&c.lost, "lost", c.lost, "nodes whose replicas and traffic the others have taken over")
	f.IntVar(&c.shards, "shards", c.shards, "shards of all streams")
	f.IntVar(&c.copies, "replicas", c.copies, "replicas of a shard")
	f.Float64Var(&c.active, "active", c.active, "share of the shards that hold records, 0 to 1")
	f.Float64Var(&c.mbps, "mbps", c.mbps, "MB of records a second into the whole cluster")
	f.IntVar(&c.clients, "clients", c.clients, "connections of clients to each node")
	f.Float64Var(&c.memory, "node-memory", c.memory, "MB of memory of a node")
	f.Float64Var(&c.cores, "node-cores", c.cores, "cores of a node")
	f.Float64Var(&c.diskMBps, "node-disk", c.diskMBps, "MB a second that a node's disk writes")
	f.IntVar(&c.descriptors, "node-descriptors", c.descriptors, "descriptors that the process may open")
	f.IntVar(&c.replicasMax, "node-replicas-max", c.replicasMax, "limits.shard_replicas_max")
}

// figures are what one of each thing costs. Where each comes from stands in docs/sizing.md.
type figures struct {
	baseMemory    float64 // MB of a node without shards and traffic
	idleMemory    float64 // KB of a replica that nobody writes to
	activeMemory  float64 // KB more of one that has records
	shardState    float64 // KB of the control state for a shard, on every node
	shardSnapshot float64 // KB of garbage for a shard when the control state is written
	connMemory    float64 // KB of a connection between nodes
	clientMemory  float64 // KB of a client's connection
	trafficMemory float64 // MB of journal, caches and queues under load

	baseCPU      float64 // cores of a node without shards
	idleCPU      float64 // cores of 1,000 idle replicas
	trafficCPU   float64 // CPU seconds of one replica's work for a GB of records
	stateCPU     float64 // milliseconds of a plan for 100,000 shards
	wakeupMicros float64 // microseconds of a write or a read between nodes beyond what the idle figure holds

	writeFactor float64 // bytes written to disk for a byte of records, journal and shard log together
	idleDisk    float64 // KB on disk of a replica without records
	activeDisk  float64 // KB on disk of a replica with few records

	baseFiles      int // descriptors of a node without shards
	dataFiles      int // segments kept open at most
	connsPerPeer   int // connections with each other node
	goroutines     float64
	baseGoroutines float64
}

// measuredFigures are those of docs/sizing.md.
func measuredFigures() figures {
	return figures{
		baseMemory: 27.5, idleMemory: 92, activeMemory: 20, shardState: 0.47, shardSnapshot: 3.7, connMemory: 130, clientMemory: 100, trafficMemory: 300,
		baseCPU: 0.017, idleCPU: 0.174, trafficCPU: 3.6, stateCPU: 14, wakeupMicros: 5,
		writeFactor: 2.2, idleDisk: 10.3, activeDisk: 11.1,
		baseFiles: 25, dataFiles: 1024, connsPerPeer: 8, goroutines: 5.3, baseGoroutines: 50,
	}
}

func (f *figures) register(s *flag.FlagSet) {
	for _, v := range []struct {
		name, usage string
		value       *float64
	}{
		{"base-memory", "MB of a node without shards and traffic", &f.baseMemory},
		{"idle-memory", "KB of an idle replica", &f.idleMemory},
		{"active-memory", "KB more of a replica with records", &f.activeMemory},
		{"shard-state", "KB of the control state for a shard, on every node", &f.shardState},
		{"shard-snapshot", "KB of garbage for a shard when the control state is written", &f.shardSnapshot},
		{"conn-memory", "KB of a connection between nodes", &f.connMemory},
		{"client-memory", "KB of a client's connection", &f.clientMemory},
		{"traffic-memory", "MB of journal, caches and queues under load", &f.trafficMemory},
		{"base-cpu", "cores of a node without shards", &f.baseCPU},
		{"idle-cpu", "cores of 1,000 idle replicas", &f.idleCPU},
		{"traffic-cpu", "CPU seconds of one replica's work for a GB of records", &f.trafficCPU},
		{"state-cpu", "milliseconds of a plan for 100,000 shards", &f.stateCPU},
		{"wakeup", "microseconds of a write or read between nodes beyond the idle figure", &f.wakeupMicros},
		{"write-factor", "bytes written to disk for a byte of records", &f.writeFactor},
		{"idle-disk", "KB on disk of a replica without records", &f.idleDisk},
		{"active-disk", "KB more on disk of a replica with few records", &f.activeDisk},
		{"goroutines", "goroutines of a replica", &f.goroutines},
	} {
		s.Float64Var(v.value, v.name, *v.value, v.usage)
	}
	s.IntVar(&f.dataFiles, "data-files", f.dataFiles, "segments that a node keeps open at most")
	s.IntVar(&f.connsPerPeer, "conns-per-peer", f.connsPerPeer, "connections of a node with each other node")
}
