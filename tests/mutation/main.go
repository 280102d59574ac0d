// Command mutation breaks the program on purpose and checks that a named test
// notices: each row of the table removes one thing that durability, order or
// uniqueness rests on. A test that still passes with the row applied proves
// nothing, and the command fails.
//
// The sources are not touched: the change is given to the Go tool as an overlay.
//
//	go run ./tests/mutation            # all rows
//	go run ./tests/mutation NAME...    # some
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mutation is one deliberate fault and the test that has to fail with it.
type mutation struct {
	name     string
	file     string // path from the module's root
	old, new string // old must occur exactly once
	pkg      string
	test     string
}

var table = []mutation{
	{
		name: "acknowledge-before-commit", file: "partition/propose.go",
		old: "	result, err := p.future.Wait()\n",
		new: "	var result any = make([]AppendResult, len(p.batches))\n	var err error\n",
		pkg: "./partition", test: "TestLossOfLeadershipTellsWrittenFromUnknown",
	},
	{
		name: "skip-journal-sync", file: "journal/writer.go",
		old: "	if err := j.head.file.Sync(); err != nil {\n		return 0, fmt.Errorf(\"sync round",
		new: "	if err := error(nil); err != nil {\n		return 0, fmt.Errorf(\"sync round",
		pkg: "./journal", test: "TestAcknowledgedSurvivesCrash",
	},
	{
		name: "drop-deduplication", file: "partition/state.go",
		old: "	if b.Producer().IsZero() {\n		s.appendNew(b, nil, o, result)\n		return\n	}\n	p, torn := s.producers",
		new: "	if true {\n		s.appendNew(b, nil, o, result)\n		return\n	}\n	p, torn := s.producers",
		pkg: "./partition", test: "TestDuplicateAcknowledgedOnce",
	},
	{
		name: "accept-sequence-gaps", file: "partition/state.go",
		old: "case first > highest+1 && !s.closed:",
		new: "case false && first > highest+1 && !s.closed:",
		pkg: "./partition", test: "TestRefusals",
	},
	{
		name: "snapshot-without-flush", file: "partition/apply.go",
		old: "	if err := s.r.log.Flush(s.r.life, s.upTo); err != nil {",
		new: "	if err := error(nil); err != nil {",
		pkg: "./partition", test: "TestAcknowledgedSurvivesCrashes",
	},
	{
		name: "shard-log-without-sync", file: "wal/log_write.go",
		old: "	if err := t.f.Sync(); err != nil {\n		return err\n	}\n	l.w.synced()\n	if !t.named {",
		new: "	if err := error(nil); err != nil {\n		return err\n	}\n	l.w.synced()\n	if !t.named {",
		pkg: "./wal", test: "TestCrashAnywhere",
	},
	{
		name: "overtake-a-failed-entry", file: "partition/propose.go",
		old: "		if p.refusal == nil && err != nil {\n",
		new: "		if false && p.refusal == nil && err != nil {\n",
		pkg: "./partition", test: "TestQueueFailsWithTheEntryBeforeIt",
	},
	{
		name: "apply-before-own-sync", file: "raftfsm/fsm.go",
		old: "	if a.stopped == nil && a.durable != nil {\n",
		new: "	if false && a.stopped == nil && a.durable != nil {\n",
		pkg: "./raftfsm", test: "TestNothingCountsBeforeTheLeaderHasWritten",
	},
	{
		name: "commit-before-own-sync", file: "raftfsm/group_transport.go",
		old: "	if r.LeaderCommitIndex <= limit {\n",
		new: "	if true || r.LeaderCommitIndex <= limit {\n",
		pkg: "./raftfsm", test: "TestNothingCountsBeforeTheLeaderHasWritten",
	},
	{
		name: "confirm-before-own-sync", file: "raftfsm/group_transport.go",
		old: "		if e := g.early.Load(); e != nil {\n",
		new: "		if e := g.early.Load(); false && e != nil {\n",
		pkg: "./raftfsm", test: "TestFollowerConfirmsOnlyWhatItsDiskHas",
	},
	{
		name: "cut-without-early-entries", file: "raftfsm/logstore.go",
		old: "	last = max(last, tail) // the journal",
		new: "	last = max(last, 0*tail) // the journal",
		pkg: "./raftfsm", test: "TestCompactionKeepsEarlyEntries",
	},
	{
		name: "calls-are-not-looked-up", file: "partition/repeatable.go",
		old: "	c := t.byID[b.Producer()]\n	pieces := c.pieces(first, count)\n",
		new: "	c := t.byID[b.Producer()]\n	pieces := (*repeatable)(nil).pieces(first, count)\n",
		pkg: "./partition", test: "TestCallsAreStoredOnce",
	},
	{
		name: "calls-are-not-inherited", file: "partition/inherit.go",
		old: "	s.repeatables.adopt(parents, s.time)\n",
		new: "",
		pkg: "./partition", test: "TestCallsAcrossSplitAndMerge",
	},
	{
		name: "merge-forgets-calls", file: "partition/repeatable.go",
		old: "repeatableInheritedMax = ParentsMax * repeatableMax",
		new: "repeatableInheritedMax = repeatableMax",
		pkg: "./partition", test: "TestMergeOfFullTables",
	},
	{
		name: "refused-calls-are-forgotten", file: "partition/repeatable.go",
		old: "		if c != nil { // who still tries",
		new: "		if false && c != nil { // who still tries",
		pkg: "./partition", test: "TestARefusedRepetitionIsASignOfLife",
	},
	{
		name: "snapshot-without-calls", file: "partition/snapshot.go",
		old: "version, calls := uint16(snapshotVersion), s.repeatables.order",
		new: "version, calls := uint16(snapshotVersion), newRepeatables().order",
		pkg: "./partition", test: "TestRestoreWithCalls",
	},
	{
		name: "tail-without-the-leader", file: "node/read_server.go",
		old: "	if !req.GetLocalOnly() {\n		if err := s.n.complete(ctx, here)",
		new: "	if false && !req.GetLocalOnly() {\n		if err := s.n.complete(ctx, here)",
		pkg: "./node", test: "TestTailIsCurrentOnEveryNode",
	},
	{
		name: "tail-of-a-former-leader", file: "raftfsm/verify.go",
		old: "	if err := g.VerifyLeader(); err != nil {\n",
		new: "	if err := error(nil); err != nil {\n",
		pkg: "./raftfsm", test: "TestOldAnswersDoNotVerifyALeader",
	},
	{
		name: "tail-behind-what-followers-show", file: "raftfsm/verify.go",
		old: "	for ; committed > applied; committed-- {\n",
		new: "	for ; false && committed > applied; committed-- {\n",
		pkg: "./raftfsm", test: "TestReadIndexIsWhatOthersHaveApplied",
	},
	{
		name: "vote-without-pre-vote", file: "raftfsm/group_run.go",
		old: "	c := g.host.raftConfig()\n",
		new: "	c := g.host.raftConfig()\n	c.PreVoteDisabled = true\n",
		pkg: "./raftfsm", test: "TestPreVoteIsActive",
	},
	{
		name: "forget-producers-on-split", file: "partition/inherit.go",
		old: "		for _, p := range h.producers {\n			q := *p // the original",
		new: "		for _, p := range h.producers[:0] {\n			q := *p // the original",
		pkg: "./partition", test: "TestSplitKeepsProducers",
	},
	{
		name: "take-the-maximum-on-merge", file: "partition/inherit.go",
		old: "		if q.scoped, q.scope = n.scope != keys, n.scope; !q.scoped {\n",
		new: "		if q.scoped, q.scope = false, n.scope; !q.scoped {\n",
		pkg: "./partition", test: "TestMergeKeepsNumberingsApart",
	},
	{
		name: "open-children-before-the-seal", file: "partition/state.go",
		old: "	return &State{pending: r.Child,",
		new: "	return &State{pending: false && r.Child,",
		pkg: "./partition", test: "TestNothingIsStoredBeforeTheAdoption",
	},
	{
		name: "start-children-at-their-own-clock", file: "partition/inherit.go",
		old: "		s.time = max(s.time, min(h.Time+1, seqno.MaxTime))\n",
		new: "		s.time = max(s.time, 0*min(h.Time+1, seqno.MaxTime))\n",
		pkg: "./partition", test: "TestSplitKeepsProducers",
	},
	{
		name: "hand-down-without-waiting", file: "client/hand_down.go",
		old: "	l.gated.Store(true)\n",
		new: "",
		pkg: "./client", test: "TestHistory",
	},
	{
		name: "forget-numberings-one-by-one", file: "partition/producer.go",
		old: "	for p := t.byID[p.id]; p != nil; p = p.wider {\n		p.seen = now",
		new: "	for p := p; p != nil; p = nil {\n		p.seen = now",
		pkg: "./partition", test: "TestNumberingsOfAProducerLeaveTogether",
	},
	{
		name: "age-producers-by-the-childs-clock", file: "partition/inherit.go",
		old: "			q.seen += now - h.Time\n",
		new: "",
		pkg: "./partition", test: "TestInheritedProducersAgeFromTheSeal",
	},
	{
		name: "note-retries-after-the-seal", file: "partition/state.go",
		old: "		if !s.closed {\n			s.producers.touch(p, s.time)",
		new: "		if true {\n			s.producers.touch(p, s.time)",
		pkg: "./partition", test: "TestSealedShardLeavesTheSame",
	},
	{
		name: "read-children-beside-their-parents", file: "client/stream_reader.go",
		old: "		if c.begun[n] || waits || sh.pending && orphan {",
		new: "		if c.begun[n] || waits && false || sh.pending && orphan {",
		pkg: "./client", test: "TestChildrenAreReadAfterBothParents",
	},
	{
		name: "flush-without-what-went-elsewhere", file: "client/batch.go",
		old: "	b.moved = make([]Result, b.count)\n",
		new: "	b.moved, b.turn = make([]Result, b.count), 0\n",
		pkg: "./client", test: "TestFlushWaitsForAllOfAClosedShard",
	},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

func run(names []string) error {
	dir, err := os.MkdirTemp("", "levada-mutation-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	survived, ran := 0, 0
	for _, m := range table {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		ran++
		start := time.Now()
		if err := m.check(dir); err != nil {
			survived++
			fmt.Printf("SURVIVED  %-28s %s %s: %v\n", m.name, m.pkg, m.test, err)
			continue
		}
		fmt.Printf("caught    %-28s by %s %s in %.1f s\n", m.name, m.pkg, m.test, time.Since(start).Seconds())
	}
	fmt.Printf("%d mutations, %d caught, %d survived\n", ran, ran-survived, survived)
	if survived > 0 || ran == 0 {
		return errors.New("not every mutation was caught")
	}
	return nil
}

// check returns nil if the test passes without the mutation and fails with it.
func (m mutation) check(dir string) error {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return fmt.Errorf("the text to change occurs %d times in %s, want once: the table is out of date", n, m.file)
	}
	if out, err := m.runTest(""); err != nil {
		return fmt.Errorf("the test fails without the mutation: %w\n%s", err, out)
	}
	mutant := filepath.Join(dir, m.name+".go")
	if err := os.WriteFile(mutant, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		return err
	}
	absolute, err := filepath.Abs(m.file)
	if err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{absolute: mutant}})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(dir, m.name+".json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	out, err := m.runTest(overlayFile)
	switch {
	case err == nil:
		return errors.New("the test passes with the mutation")
	case !strings.Contains(out, "--- FAIL: "+m.test) && !strings.Contains(out, "panic: "):
		return fmt.Errorf("the test did not run with the mutation:\n%s", out)
	}
	return nil
}

// runTest runs the test, with an overlay if one is named, and returns its output.
func (m mutation) runTest(overlay string) (string, error) {
	args := []string{"test", "-count=1", "-timeout=3m", "-run", "^" + m.test + "$"}
	if overlay != "" {
		args = append(args, "-overlay", overlay, "-vet=off")
	}
	out, err := exec.Command("go", append(args, m.pkg)...).CombinedOutput()
	if err == nil && strings.Contains(string(out), "no tests to run") {
		return string(out), fmt.Errorf("there is no test %s", m.test)
	}
	return string(out), err
}
