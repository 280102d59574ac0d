package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestKindSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("append: %w", New(Throttled, "queue is full: %w", io.ErrShortWrite))
	if KindOf(err) != Throttled {
		t.Errorf("kind %s, want throttled", KindOf(err))
	}
	if !errors.Is(err, io.ErrShortWrite) {
		t.Error("cause lost")
	}
	if got, want := err.Error(), "append: queue is full: short write"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if KindOf(io.EOF) != Internal || As(io.EOF) != nil {
		t.Error("a plain error is not internal")
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for k := Internal; k <= LimitReached; k++ {
		if seen[k.String()] || k.String() == fmt.Sprintf("kind_%d", k) {
			t.Errorf("kind %d has no name of its own: %s", k, k)
		}
		seen[k.String()] = true
	}
}

func TestFieldAndLimit(t *testing.T) {
	e := TooLargeField("data", 1<<20, "record has %d bytes", 1<<21)
	if e.Field != "data" || e.Limit != 1<<20 || e.Kind != TooLarge {
		t.Errorf("got %+v", e)
	}
	if e := LimitField("streams", 10, "10 are enough"); e.Field != "streams" || e.Limit != 10 || e.Kind != LimitReached || e.Kind.Retryable() {
		t.Errorf("got %+v", e)
	}
}
