package main

import "fmt"

// natsMode is one way in which NATS's clients can publish much.
type natsMode struct {
	// kind is "sync" (wait for each message), "async" (PublishAsync), "atomic" (batches that are stored whole) or "fast" (fast-ingest batches).
	kind string
	// publishers is the number of connections per stream, each with one publishing goroutine.
	publishers int
	// pending is how many messages of a publisher may be unacknowledged
	// (async), or in one batch (atomic), or between two acknowledgements (fast).
	pending int
}

func (m natsMode) String() string {
	if m.kind == "sync" {
		return fmt.Sprintf("each message waited for, %d connection(s) per stream", m.publishers)
	}
	unit := map[string]string{"async": "unacknowledged", "atomic": "per batch", "fast": "per acknowledgement"}[m.kind]
	return fmt.Sprintf("%s, %d connection(s) per stream, %d messages %s", m.kind, m.publishers, m.pending, unit)
}

// manyStreams is from how many streams on fewer and smaller settings are tried: connections and windows are per stream.
const manyStreams = 64

// natsModes are those tried for a number of streams and a size of records; the
// best is kept. The client's buffers and the server's are bytes: of large records fewer are on their way.
func natsModes(shards, size int) []mode {
	small := []natsMode{
		{"async", 1, 64},
		{"async", 1, 256},
		{"async", 1, 1024},
		{"async", 1, 4096},
		{"atomic", 1, 250},
		{"atomic", 4, 250},
		{"fast", 1, 200},
		{"fast", 1, 1000},
	}
	switch {
	case shards == 1:
		small = []natsMode{
			{"async", 1, 512},
			{"async", 1, 2048},
			{"async", 1, 8000},
			{"async", 4, 1000},
			{"atomic", 4, 250},
			{"atomic", 16, 500},
			{"fast", 1, 500},
			{"fast", 4, 500},
		}
	case shards >= manyStreams:
		small = []natsMode{{"async", 1, 16}, {"async", 1, 64}, {"atomic", 1, 50}, {"fast", 1, 50}}
	}
	var all []mode
	for _, m := range small {
		if size > 8*recordBytes {
			m.pending = max(8, m.pending/16)
		}
		all = append(all, m)
	}
	return all
}

// natsSingles are the ways to publish messages one by one, without batches.
func natsSingles(shards int) []mode {
	if shards == 1 {
		return []mode{
			natsMode{"async", 1, 512},
			natsMode{"async", 1, 2048},
			natsMode{"async", 1, 8000},
			natsMode{"async", 4, 256},
			natsMode{"async", 4, 1000},
			natsMode{"async", 16, 256},
		}
	}
	return []mode{natsMode{"async", 1, 64}, natsMode{"async", 1, 256}, natsMode{"async", 1, 1024}, natsMode{"async", 1, 4096}, natsMode{"async", 4, 256}}
}

// waiting is how a NATS caller waits for each message.
func waiting() natsMode { return natsMode{"sync", 1, 1} }
