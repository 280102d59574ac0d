package kinesis

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// ledger is what one side knows of the records of a stream: a producer what was acknowledged, a consumer what it was given.
type ledger struct {
	who string

	mu      sync.Mutex
	byKey   map[string]*tally
	records int
	again   int                  // records whose counter had been there before
	last    map[string]time.Time // by shard: when its last record came
	pause   time.Duration        // the longest time that a shard gave no record for
}

// tally is what a ledger knows of one key.
type tally struct {
	next     int            // the counter that comes next
	sequence string         // the last one
	numbers  map[string]int // by sequence number, the counter
}

func newLedger(who string) *ledger {
	return &ledger{who: who, byKey: map[string]*tally{}, last: map[string]time.Time{}}
}

// before reports whether a sequence number is less than another: both are decimal numbers without leading zeros.
func before(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return strings.Compare(a, b) < 0
}

// note enters a record. The counter of a key goes up by one, but for records that come again, and its sequence numbers go up.
func (l *ledger) note(v value, sequence string) error {
	a := l.byKey[v.Key]
	if a == nil {
		a = &tally{numbers: map[string]int{}}
		l.byKey[v.Key] = a
	}
	l.records++
	former := a.sequence
	a.sequence, a.numbers[sequence] = sequence, v.N
	if !before(former, sequence) {
		return fmt.Errorf("%s: %s %d has sequence number %s after %s", l.who, v.Key, v.N, sequence, former)
	}
	switch {
	case v.N == a.next:
		a.next++
	case v.N < a.next:
		l.again++
	default:
		want := a.next
		a.next = v.N + 1
		return fmt.Errorf("%s: %s has %d, want %d", l.who, v.Key, v.N, want)
	}
	return nil
}

// acknowledged enters a record that was put.
func (l *ledger) acknowledged(t *testing.T, v value, sequence string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.note(v, sequence); err != nil {
		t.Error(err)
	}
}

// given enters records of a shard that a consumer was given.
func (l *ledger) given(t *testing.T, shard string, records []types.Record) {
	if len(records) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if last, ok := l.last[shard]; ok {
		l.pause = max(l.pause, now.Sub(last))
	}
	l.last[shard] = now
	for _, r := range records {
		var v value
		if err := json.Unmarshal(r.Data, &v); err != nil || v.Key != *r.PartitionKey {
			t.Errorf("%s: a record of %s is %q with key %s (%v)", l.who, shard, r.Data, *r.PartitionKey, err)
			continue
		}
		if err := l.note(v, *r.SequenceNumber); err != nil {
			t.Errorf("%v (of %s)", err, shard)
		}
	}
}

// lacks says which of the acknowledged records are not in l, as they were acknowledged: with that counter under that sequence number.
func (l *ledger) lacks(acked *ledger) (missing []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked.mu.Lock()
	defer acked.mu.Unlock()
	for key, a := range acked.byKey {
		for sequence, n := range a.numbers {
			if l.byKey[key] == nil {
				missing = append(missing, fmt.Sprintf("%s %d (%s)", key, n, sequence))
			} else if seen, ok := l.byKey[key].numbers[sequence]; !ok || seen != n {
				missing = append(missing, fmt.Sprintf("%s %d (%s)", key, n, sequence))
			}
		}
	}
	return missing
}

// String tells figures.
func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%s %d records (%d of them again), no shard silent for more than %v", l.who, l.records, l.again, l.pause.Round(time.Millisecond))
}
