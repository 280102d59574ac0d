package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fault is a change for the worse that rows of the table have to notice.
type fault struct {
	file     string // path from the module's root
	old, new string // old must occur exactly once

	// second: built in with the second lot. A fault of the first lot lies on the way of this one's rows, which would fail without it.
	second bool
}

func faults() map[string]fault {
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
			old:  "			return\n		}\n		t.drop(p)",
			new:  "			for e != nil {\n				e = e.Next()\n			}\n			return\n		}\n		t.drop(p)",
		},
		"replica-hashes-all": {
			file:   "partition/append.go",
			old:    "	routed := !b.Pinned() && !r.whole",
			new:    "	routed := !b.Pinned()",
			second: true,
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
		"page-copies": {
			file:   "node/read_server.go",
			old:    "	if len(parts) == 1 {",
			new:    "	if len(parts) == 0 {",
			second: true,
		},
		"memory-read-copies": {
			file: "wal/log_read.go",
			old:  "		blocks[i] = b.block(b.payload...)",
			new:  "		blocks[i] = b.block(append([]byte(nil), b.payload[0]...))",
		},
	}
}

// lots returns the names of the faults that are built in together.
func lots() [2][]string {
	var out [2][]string
	for _, name := range slices.Sorted(maps.Keys(faults())) {
		if faults()[name].second {
			out[1] = append(out[1], name)
		} else {
			out[0] = append(out[0], name)
		}
	}
	return out
}

// writeOverlay writes the sources with the named faults in them, which the Go tool takes in the place of the real ones.
func writeOverlay(dir string, names []string) (string, error) {
	sources, known := map[string]string{}, faults()
	for _, name := range names {
		f := known[name]
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
