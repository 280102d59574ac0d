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

func faults() map[string]fault {
	return map[string]fault{
		"receive-copies-twice": {
			"api/wire/unmarshal.go", "	out := bytes.Join(parts, nil)", "	out := bytes.Clone(bytes.Join(parts, nil))",
		},
		"send-copies": {
			"api/wire/marshal.go", "mem.SliceBuffer(m.GetBatch())}", "mem.SliceBuffer(slices.Clone(m.GetBatch()))}",
		},
		"parse-sums-twice": {
			"wal/record/batch.go", "	if crc32.Checksum(b[offFlags:], castagnoli) != b.Checksum() {",
			"	if sum := crc32.Checksum(b[offFlags:], castagnoli); sum != b.Checksum() || sum != crc32.Checksum(b[offFlags:], castagnoli) {",
		},
		"parse-allocates": {
			"wal/record/record.go", "	r.Key = b[:keyLen:keyLen]", "	r.Key = append([]byte(nil), b[:keyLen]...)",
		},
		"entry-copies-lone-batch": {
			"partition/command.go", "	case len(c.Batches) == 1:", "	case len(c.Batches) == 0:",
		},
		"producers-are-walked": {
			"partition/producer.go", "			return\n		}\n		t.drop(p)", "			for e != nil {\n				e = e.Next()\n			}\n			return\n		}\n		t.drop(p)",
		},
		"replica-hashes-all": {
			"partition/append.go", "	routed := !b.Pinned() && !r.whole", "	routed := !b.Pinned()",
		},
		"raft-forgets-sums": {
			"raftfsm/sums.go", "	if !known {", "	if known = false; !known {",
		},
		"raft-sums-thrice": {
			"raftfsm/frame_raft.go", "			own := crc32.Checksum(rest[:data], castagnoli)",
			"			own := crc32.Checksum(rest[:data], castagnoli) ^ crc32.Checksum(rest[:data], castagnoli) ^ crc32.Checksum(rest[:data], castagnoli)",
		},
		"journal-sums-again": {
			"journal/round_encode.go", "	if !entry.Summed {", "	if true {",
		},
		"journal-syncs-alone": {
			"journal/queue.go", "			if len(batch) > 0 && bytes+r.bytes > limit {", "			if len(batch) > 0 {",
		},
		"memory-read-copies": {
			"wal/log_read.go", "		blocks[i] = b.block(b.payload...)", "		blocks[i] = b.block(append([]byte(nil), b.payload[0]...))",
		},
	}
}

// writeOverlay writes the sources with the named faults in them, which the Go tool takes in the place of the real ones.
func writeOverlay(dir string, names map[string]bool) (string, error) {
	sources, known := map[string]string{}, faults()
	for name := range names {
		f, ok := known[name]
		if !ok {
			return "", fmt.Errorf("the table names a fault %s, which is not there", name)
		}
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
	for name := range known {
		if _, used := names[name]; !used {
			return "", fmt.Errorf("no row of the table is to notice the fault %s", name)
		}
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
