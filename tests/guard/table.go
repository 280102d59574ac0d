package main

// The packages whose hot paths are guarded. To add a row, write the benchmark beside the code, run it with
// -count, and take a limit that leaves half as much again, or twice as much, of what you see.
const (
	records   = "wal/record"
	wire      = "api/wire"
	partition = "partition"
	raft      = "raftfsm"
	journal   = "journal"
	wal       = "wal"
	client    = "client"
	node      = "node"
	crc32c    = "internal/crc32c"
	hashkey   = "internal/hashkey"
)

const (
	// diskTime is the length of a run that waits for a real disk.
	diskTime = "150ms"
	// heapTime is the length of a run whose time goes into new memory: the first times the system has yet to find it.
	heapTime = "60ms"
)

func table() []row {
	var all []row
	for _, part := range [][]row{codecRows(), writeRows(), readRows(), memoryRows()} {
		all = append(all, part...)
	}
	return all
}

// beside makes a row of two benchmarks: the subject takes at most ratio times as long as the reference.
func beside(what string, ratio float64, subject, reference bench) row {
	return row{what: what, ratio: ratio, subject: subject, reference: reference}
}

// memory makes a row of what a benchmark allocates.
func memory(pkg, name string, allocs, bytes float64) row {
	return row{what: pkg + " " + name, subject: bench{pkg: pkg, name: name}, allocs: allocs, bytes: bytes}
}

func (r row) noticing(fault string) row {
	r.notices = fault
	return r
}

// codecRows: what is encoded, decoded and checked. 256 KiB everywhere, if nothing else is said.
func codecRows() []row {
	clone := bench{pkg: wire, name: "Copy", time: heapTime}
	sum := bench{pkg: crc32c, name: "Checksum/size=256KiB"}
	send := func(name, codec string) bench {
		return bench{pkg: wire, name: "Marshal/message=" + name + "/codec=" + codec}
	}
	receive := func(name, codec string) bench {
		return bench{pkg: wire, name: "Unmarshal/message=" + name + "/codec=" + codec, time: heapTime}
	}
	return []row{
		beside("receive an append, beside a copy", 3, receive("append", "wire"), clone),
		beside("receive a page, beside a copy", 3, receive("read/blocks=1", "wire"), clone),
		beside("receive an append, beside protobuf", 2, receive("append", "wire"), receive("append", "protobuf")),
		beside("receive a page of 64 blocks, beside protobuf", 2, receive("read/blocks=64", "wire"), receive("read/blocks=64", "protobuf")),
		beside("send an append: no copy", 0.15, send("append", "wire"), send("append", "protobuf")).noticing("send-copies"),
		beside("send a page: no copy", 0.15, send("read/blocks=1", "wire"), send("read/blocks=1", "protobuf")),
		beside("send a page of 64 blocks, beside protobuf", 2, send("read/blocks=64", "wire"), send("read/blocks=64", "protobuf")),
		beside("build a batch of 1 KiB records, beside 64 KiB ones", 3,
			bench{pkg: records, name: "Build/record=1KiB", time: heapTime}, bench{pkg: records, name: "Build/record=64KiB", time: heapTime}),
		beside("check a batch of 64 KiB records: one checksum", 1.6,
			bench{pkg: records, name: "Parse/record=64KiB"}, bench{pkg: records, name: "Checksum/record=64KiB"}).noticing("parse-sums-twice"),
		beside("check a batch of 1 KiB records", 3, bench{pkg: records, name: "Parse/record=1KiB"}, bench{pkg: records, name: "Checksum/record=1KiB"}),
		beside("check a batch of 100 B records", 13, bench{pkg: records, name: "Parse/record=100B"}, bench{pkg: records, name: "Checksum/record=100B"}),
		beside("join two checksums, beside computing one", 0.15, bench{pkg: crc32c, name: "Join/size=256KiB"}, sum),
		beside("header of a block: one checksum", 1.6, bench{pkg: wal, name: "Header/block=256KiB"}, sum),
		beside("hash a long key, beside a short one", 7, bench{pkg: hashkey, name: "FromPartitionKey/key=256B"}, bench{pkg: hashkey, name: "FromPartitionKey/key=13B"}),
		beside("find one of 1,024 shards, beside one of one", 2, bench{pkg: client, name: "Lookup/shards=1024"}, bench{pkg: client, name: "Lookup/shards=1"}),
	}
}

// writeRows: an append on its way.
func writeRows() []row {
	sum := bench{pkg: crc32c, name: "Checksum/size=256KiB"}
	encode := func(file, known string) bench {
		return bench{pkg: journal, name: "Encode/file=" + file + "/known=" + known}
	}
	disk := func(callers string) bench {
		return bench{pkg: journal, name: "Append/disk=real/entry=4KiB/callers=" + callers, time: diskTime}
	}
	// Where syncs cost nothing, as on a file system in memory, little is shared: hence the high limit of the last row.
	return []row{
		beside("entry of one batch, beside one of 64: no copy", 0.05,
			bench{pkg: partition, name: "Encode/batch=256KiB"}, bench{pkg: partition, name: "Encode/batch=4KiB"}).noticing("entry-copies-lone-batch"),
		beside("find 64 batches of an entry, beside summing it", 0.3, bench{pkg: partition, name: "Decode/batch=4KiB"}, sum),
		beside("apply for one of 10,000 producers, beside one of 100", 4,
			bench{pkg: partition, name: "Apply/producers=10000"}, bench{pkg: partition, name: "Apply/producers=100"}).noticing("producers-are-walked"),
		beside("replica of all keys hashes none", 0.5,
			bench{pkg: partition, name: "Enqueue/keys=all/batch=256KiB"}, bench{pkg: partition, name: "Enqueue/keys=part/batch=256KiB"}).noticing("replica-hashes-all"),
		beside("append to a second follower: no checksum", 0.15,
			bench{pkg: raft, name: "EncodeAppend/entry=256KiB/known=true"}, bench{pkg: raft, name: "EncodeAppend/entry=256KiB/known=false"}).noticing("raft-forgets-sums"),
		beside("check an append of a peer: one checksum", 1.6, bench{pkg: raft, name: "DecodeAppend/entry=256KiB"}, sum).noticing("raft-sums-thrice"),
		beside("heartbeat over loopback, beside an append", 0.04, bench{pkg: raft, name: "Link/frame=heartbeat/window=64"}, bench{pkg: raft, name: "Link/frame=append/window=8"}),
		beside("journal round with known checksum, buffered file", 0.2, encode("buffered", "true"), encode("buffered", "false")).noticing("journal-sums-again"),
		beside("journal round with known checksum, direct file", 0.7, encode("direct", "true"), encode("direct", "false")).noticing("journal-sums-again"),
		beside("16 callers share syncs of the journal", 0.8, disk("16"), disk("1")).noticing("journal-syncs-alone"),
	}
}

// readRows: records on their way out.
func readRows() []row {
	read := func(from, block string) bench { return bench{pkg: wal, name: "Read/from=" + from + "/block=" + block} }
	return []row{
		beside("read 256 KiB blocks from memory, beside files", 0.05, read("memory", "256KiB"), read("file", "256KiB")).noticing("memory-read-copies"),
		beside("read 16 KiB blocks from memory, beside files", 0.1, read("memory", "16KiB"), read("file", "16KiB")),
		beside("client decodes a page, with checksums and without", 3.5,
			bench{pkg: client, name: "Decode/record=1KiB/verify=true"}, bench{pkg: client, name: "Decode/record=1KiB/verify=false"}),
	}
}

// memoryRows: what an operation allocates, which no other work on the machine changes.
func memoryRows() []row {
	return []row{
		memory(records, "Build/record=1KiB", 1, 262144),
		memory(records, "Parse/record=1KiB", 0, 0).noticing("parse-allocates"),
		memory(records, "Records/record=1KiB", 0, 0),
		memory(wire, "Marshal/message=append/codec=wire", 6, 192),
		memory(wire, "Marshal/message=read/blocks=1/codec=wire", 7, 400),
		memory(wire, "Marshal/message=read/blocks=64/codec=wire", 201, 18640),
		memory(wire, "Unmarshal/message=append/codec=wire", 8, 263904).noticing("receive-copies-twice"),
		memory(wire, "Unmarshal/message=read/blocks=1/codec=wire", 10, 264040),
		memory(wire, "Unmarshal/message=read/blocks=64/codec=wire", 139, 269552),
		memory(hashkey, "FromPartitionKey/key=13B", 0, 0),
		memory(client, "Lookup/shards=16", 0, 0),
		memory(client, "Put/network=none/record=1KiB", 0, 1750),
		memory(client, "Decode/record=1KiB/verify=true", 2, 106576),
		memory(partition, "Encode/batch=256KiB", 1, 16),
		memory(partition, "Decode/batch=256KiB", 1, 24),
		memory(partition, "Decode/batch=4KiB", 1, 1792),
		memory(partition, "Apply/producers=100", 4, 112),
		memory(partition, "Enqueue/keys=all/batch=256KiB", 17, 850),
		memory(raft, "EncodeAppend/entry=256KiB/known=true", 7, 320),
		memory(raft, "DecodeAppend/entry=256KiB", 3, 248),
		memory(raft, "Heartbeat", 2, 152),
		memory(raft, "Link/frame=append/window=8", 18, 262144),
		memory(raft, "Link/frame=heartbeat/window=64", 4, 200),
		memory(journal, "Encode/file=buffered/known=true", 0, 0),
		memory(journal, "Encode/file=direct/known=true", 0, 0),
		memory(wal, "Append/block=1KiB", 2, 1426),
		memory(wal, "Header/block=1KiB", 0, 0),
		memory(wal, "Read/from=memory/block=16KiB", 9, 39552),
		memory(wal, "Read/from=file/block=16KiB", 1096, 8703380),
		memory(node, "Page/from=memory/block=256KiB", 96, 8896).noticing("page-copies"),
	}
}
