// Command guard notices when a hot path got slower, on any machine: it
// compares benchmarks with each other, never with a clock's reading of another
// day. A row of its table says that one benchmark takes at most so many times
// as long as another that ran beside it, or that it allocates so and so much.
//
// Each benchmark runs several times, in turns with all others, and the fastest
// run counts: work of others on the machine only ever adds time. Limits leave
// room for what differs between processors.
//
//	go run ./tests/guard           # the table holds
//	go run ./tests/guard -prove    # built-in faults break the rows that are to notice them
//	go run ./tests/guard -v        # every row, and what allocates less than its limit
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	proof := flag.Bool("prove", false, "build in faults; the rows that name one have to fail")
	all := flag.Bool("v", false, "print every row")
	rounds := flag.Int("rounds", 6, "runs of each benchmark, of which the fastest counts")
	flag.Parse()
	if err := run(*proof, *all, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(1)
	}
}

func run(proof, all bool, rounds int) error {
	dir, err := os.MkdirTemp("", "levada-guard-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	start := time.Now()
	rows := table()
	if proof {
		err = proveAll(dir, rows, rounds)
	} else {
		err = checkAll(dir, rows, rounds, all)
	}
	fmt.Printf("%.0f s\n", time.Since(start).Seconds())
	return err
}

// extraRounds is how often the benchmarks of rows that fail run again before the rows count as failed.
const extraRounds = 3

func checkAll(dir string, rows []row, rounds int, all bool) error {
	m, err := build(dir, "", rows)
	if err != nil {
		return err
	}
	if err := m.measure(rows, rounds); err != nil {
		return err
	}
	failed := failing(m, rows)
	for range extraRounds {
		if len(failed) == 0 {
			break
		}
		fmt.Printf("%d rows fail and run again, among them: %s\n", len(failed), failed[0].what)
		if err := m.measure(failed, rounds); err != nil {
			return err
		}
		failed = failing(m, failed)
	}
	for _, r := range rows {
		if v := r.judge(m.best); v.broken || all {
			fmt.Println(v.text)
		}
	}
	fmt.Printf("%d rows, %d fail\n", len(rows), len(failed))
	if len(failed) > 0 {
		return errors.New("a hot path costs more than it may: see the rows above")
	}
	return nil
}

func failing(m *measurer, rows []row) []row {
	var out []row
	for _, r := range rows {
		if r.judge(m.best).broken {
			out = append(out, r)
		}
	}
	return out
}

// proveAll builds the faults in, each lot at once.
func proveAll(dir string, rows []row, rounds int) error {
	watching, blind := 0, 0
	for i, lot := range lots() {
		var watch []row
		for _, r := range rows {
			if _, there := lot[r.notices]; there {
				watch = append(watch, r)
			}
		}
		dir := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		missed, err := prove(dir, lot, watch, rounds)
		if err != nil {
			return err
		}
		watching, blind = watching+len(watch), blind+missed
	}
	fmt.Printf("%d rows, %d missed their fault\n", watching, blind)
	if blind > 0 {
		return errors.New("a row of the table does not notice what it is there for")
	}
	return nil
}

// prove returns how many of the rows hold with the faults in the program.
func prove(dir string, lot map[string]fault, rows []row, rounds int) (missed int, err error) {
	overlay, err := writeOverlay(dir, lot)
	if err != nil {
		return 0, err
	}
	m, err := build(dir, overlay, rows)
	if err != nil {
		return 0, err
	}
	if err := m.measure(rows, rounds); err != nil {
		return 0, err
	}
	for _, r := range rows {
		v, verdict := r.judge(m.best), "noticed"
		if !v.broken {
			verdict = "MISSED"
			missed++
		}
		fmt.Printf("%-8s %-24s %s\n", verdict, r.notices, v.text)
	}
	return missed, nil
}
