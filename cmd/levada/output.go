package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table collects rows and prints them in aligned columns.
type table struct {
	header []string
	rows   [][]string
}

func newTable(header ...string) *table { return &table{header: header} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the header in capitals and the rows; an empty cell shows as "-".
func (t *table) print(w io.Writer) error {
	tabs := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if len(t.header) > 0 {
		fmt.Fprintln(tabs, strings.ToUpper(strings.Join(t.header, "\t")))
	}
	for _, row := range t.rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(tabs, "\t")
			}
			if cell == "" {
				cell = "-"
			}
			fmt.Fprint(tabs, cell)
		}
		fmt.Fprintln(tabs)
	}
	return tabs.Flush()
}

// printJSON writes v indented.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// grouped writes an integer with commas: 1,234,567.
func grouped[T int | int64 | uint32 | uint64](n T) string {
	digits := strconv.FormatUint(uint64(n), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// megabytesPerSecond returns a rate in units of 10^6 bytes.
func megabytesPerSecond(bytes uint64, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(bytes) / 1e6 / elapsed.Seconds()
}

// timeText writes a time in milliseconds since the Unix epoch, "" for 0.
func timeText(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// shardID returns the id of a shard number.
func shardID(number uint32) string { return fmt.Sprintf("shard-%012d", number) }

// optionalShard reads a --shard, nil if it is not given.
func optionalShard(flag *string) (*uint32, error) {
	if flag == nil {
		return nil, nil
	}
	number, err := parseShard(*flag)
	if err != nil {
		return nil, fmt.Errorf("--shard: %w", err)
	}
	return &number, nil
}

// parseShard reads a shard's id or its bare number.
func parseShard(text string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "shard-"), 10, 32)
	if err != nil {
		return 0, usagef("%q is no shard: write its id, shard-000000000003, or its number, 3", text)
	}
	return uint32(n), nil
}
