package journal

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/vfs"
)

// model is a journal as slices in memory.
type model struct {
	entries map[uint64][]Entry
	commit  map[uint64]uint64
}

func newModel() *model {
	return &model{entries: make(map[uint64][]Entry), commit: make(map[uint64]uint64)}
}

func (m *model) clone() *model {
	c := newModel()
	for g, e := range m.entries {
		c.entries[g] = slices.Clone(e)
		c.commit[g] = m.commit[g]
	}
	return c
}

func (m *model) last(g uint64) uint64 {
	if e := m.entries[g]; len(e) > 0 {
		return e[len(e)-1].Index
	}
	return 0
}

func (m *model) set(g uint64, e []Entry, commit uint64) {
	if len(e) == 0 {
		delete(m.entries, g)
		delete(m.commit, g)
		return
	}
	m.entries[g] = e
	m.commit[g] = min(max(m.commit[g], commit), e[len(e)-1].Index)
}

func (m *model) append(g uint64, e []Entry, commit uint64) {
	m.set(g, append(slices.Clone(m.entries[g]), e...), commit)
}

func (m *model) truncateSuffix(g, from uint64) {
	m.set(g, slices.DeleteFunc(slices.Clone(m.entries[g]), func(e Entry) bool { return e.Index >= from }), 0)
}

func (m *model) truncatePrefix(g, upTo uint64) {
	m.set(g, slices.DeleteFunc(slices.Clone(m.entries[g]), func(e Entry) bool { return e.Index <= upTo }), 0)
}

// difference says how a journal differs from the model, "" if it does not.
func (m *model) difference(j *Journal) string {
	var groups []uint64
	for g := range m.entries {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	if diff := cmp.Diff(groups, j.Groups(), cmp.Transformer("empty", func(g []uint64) []uint64 {
		return append([]uint64{}, g...)
	})); diff != "" {
		return "groups: " + diff
	}
	for _, g := range groups {
		want := m.entries[g]
		if first, last := j.Bounds(g); first != want[0].Index || last != m.last(g) {
			return fmt.Sprintf("group %d holds %d to %d, want %d to %d", g, first, last, want[0].Index, m.last(g))
		}
		if got := j.Commit(g); got != m.commit[g] {
			return fmt.Sprintf("group %d has commit %d, want %d", g, got, m.commit[g])
		}
		for _, w := range want {
			var got Entry
			if err := j.Get(g, w.Index, &got); err != nil {
				return fmt.Sprintf("group %d entry %d: %v", g, w.Index, err)
			}
			if diff := entryDiff(w, got); diff != "" {
				return fmt.Sprintf("group %d entry %d: %s", g, w.Index, diff)
			}
		}
	}
	return ""
}

// entryDiff is cmp.Diff, which is slow, for entries that differ only.
func entryDiff(want, got Entry) string {
	if want.Index == got.Index && want.Term == got.Term && want.Type == got.Type && want.AppendedAt == got.AppendedAt &&
		bytes.Equal(want.Data, got.Data) && bytes.Equal(want.Extensions, got.Extensions) {
		return ""
	}
	return cmp.Diff(want, got)
}

// TestModel runs random changes on a journal whose segments are few and small, and on slices.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem(rapid.Uint64().Draw(t, "seed"))
		fs.SetDirect(rapid.Bool().Draw(t, "direct"))
		o := small
		o.MaxBytes = 256 << 10
		open := func() *Journal {
			j, err := Open(fs, "journal", o)
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		j, m, term := open(), newModel(), uint64(0)
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		group := rapid.Uint64Range(1, 4)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				g := group.Draw(t, "group")
				term++
				from := m.last(g) + 1
				if from == 1 {
					from = rapid.Uint64Range(1, 5).Draw(t, "first")
				}
				n := rapid.Uint64Range(0, 5).Draw(t, "count")
				size := rapid.SampledFrom([]int{0, 10, 700, 5000, 17 << 10}).Draw(t, "size")
				commit := rapid.Uint64Range(0, from+n+1).Draw(t, "commit")
				check(j.Append(g, entries(g, from, n, term, size), commit))
				m.append(g, entries(g, from, n, term, size), commit)
			},
			"suffix": func(t *rapid.T) {
				g := group.Draw(t, "group")
				from := m.last(g) + 2 - min(m.last(g)+2, rapid.Uint64Range(0, 6).Draw(t, "back"))
				check(j.TruncateSuffix(g, from))
				m.truncateSuffix(g, from)
			},
			"prefix": func(t *rapid.T) {
				g := group.Draw(t, "group")
				upTo := m.last(g) + 1 - min(m.last(g)+1, rapid.Uint64Range(0, 6).Draw(t, "back"))
				check(j.TruncatePrefix(g, upTo))
				m.truncatePrefix(g, upTo)
			},
			"delete": func(t *rapid.T) {
				g := group.Draw(t, "group")
				check(j.DeleteGroup(g))
				m.set(g, nil, 0)
			},
			"reopen": func(t *rapid.T) {
				check(j.Close())
				j = open()
			},
			"": func(t *rapid.T) {
				if diff := m.difference(j); diff != "" {
					t.Fatal(diff)
				}
			},
		})
		check(j.Close())
	})
}
