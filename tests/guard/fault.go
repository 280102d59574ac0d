package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// fault is a change for the worse that rows of the table have to notice.
type fault struct {
	file     string // path from the module's root
	old, new string // old must occur exactly once
}

// lots are the faults, by name, in the lots in which they are built in.
func lots() []map[string]fault { return []map[string]fault{firstLot(), secondLot()} }

func firstLot() map[string]fault {
	return map[string]fault{
		"receive-copies-twice": {
			file: "api/wire/unmarshal.go",
			old:  "	out := bytes.Join(parts, nil)",
			new:  "	out := bytes.Clone(bytes.Join(parts, nil))",
		},
		"send-copies": {
			file: "api/wire/marshal.go",
			old:  "mem.SliceBuffer(m.GetBatch())}",
			new:  "mem.SliceBuffer(slices.Clone(m.GetBatch()))}",
		},
		"parse-sums-twice": {
			file: "wal/record/batch.go",
			old:  "	if crc32.Checksum(b[offFlags:], castagnoli) != b.Checksum() {",
			new:  "	if sum := crc32.Checksum(b[offFlags:], castagnoli); sum != b.Checksum() || sum != crc32.Checksum(b[offFlags:], castagnoli) {",
		},
		"parse-allocates": {
			file: "wal/record/record.go",
			old:  "	r.Key = b[:keyLen:keyLen]",
			new:  "	r.Key = append([]byte(nil), b[:keyLen]...)",
		},
		"entry-copies-lone-batch": {
			file: "partition/command.go",
			old:  "	case len(c.Batches) == 1:",
			new:  "	case len(c.Batches) == 0:",
		},
		"producers-are-walked": {
			file: "partition/producer.go",
			old:  "			return\n		}\n		t.drop(p.id)",
			new:  "			for e != nil {\n				e = e.Next()\n			}\n			return\n		}\n		t.drop(p.id)",
		},
		"raft-forgets-sums": {
			file: "raftfsm/sums.go",
			old:  "	if !known {",
			new:  "	if known = false; !known {",
		},
		"raft-sums-thrice": {
			file: "raftfsm/frame_raft.go",
			old:  "			own := crc32.Checksum(rest[:data], castagnoli)",
			new:  "			own := crc32.Checksum(rest[:data], castagnoli) ^ crc32.Checksum(rest[:data], castagnoli) ^ crc32.Checksum(rest[:data], castagnoli)",
		},
		"journal-sums-again": {
			file: "journal/round_encode.go",
			old:  "	if !entry.Summed {",
			new:  "	if true {",
		},
		"journal-syncs-alone": {
			file: "journal/queue.go",
			old:  "			if len(batch) > 0 && bytes+r.bytes > limit {",
			new:  "			if len(batch) > 0 {",
		},
		"memory-read-copies": {
			file: "wal/log_read.go",
			old:  "		blocks[i] = b.block(b.payload...)",
			new:  "		blocks[i] = b.block(append([]byte(nil), b.payload[0]...))",
		},
	}
}

// secondLot holds the faults whose rows would fail with some of the first lot anyway.
func secondLot() map[string]fault {
	return map[string]fault{
		"replica-hashes-all": {
			file: "partition/append.go",
			old:  "	routed := !b.Pinned() && !r.whole",
			new:  "	routed := !b.Pinned()",
		},
		"page-copies": {
			file: "node/read_server.go",
			old:  "	if len(parts) == 1 {",
			new:  "	if len(parts) == 0 {",
		},
	}
}

// writeOverlay writes the sources with the faults in them, which the Go tool takes in the place of the real ones.
func writeOverlay(dir string, lot map[string]fault) (string, error) {
	sources := map[string]string{}
	for name, f := range lot {
		if _, read := sources[f.file]; !read {
			text, err := os.ReadFile(filepath.FromSlash(f.file))
			if err != nil {
				return "", err
			}
			sources[f.file] = string(text)
		}
		if n := strings.Count(sources[f.file], f.old); n != 1 {
			return "", fmt.Errorf("%s: the text to change occurs %d times in %s, want once: the fault is out of date", name, n, f.file)
		}
		sources[f.file] = strings.Replace(sources[f.file], f.old, f.new, 1)
	}
	replace := map[string]string{}
	for file, text := range sources {
		faulty := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(faulty, []byte(text), 0o600); err != nil {
			return "", err
		}
		absolute, err := filepath.Abs(filepath.FromSlash(file))
		if err != nil {
			return "", err
		}
		replace[absolute] = faulty
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, overlay, 0o600)
}
