package membership

import (
	"log"
	"strings"
	"sync"
	"unicode"

	"github.com/hashicorp/go-hclog"
)

// lineShapesMax bounds how many kinds of complaint are remembered.
const lineShapesMax = 256

// A lineWriter turns memberlist's log lines into ours. A complaint is passed on
// at its level the first time and at debug level when it is repeated with other
// numbers: a stranger that knocks every second must not fill the log.
type lineWriter struct {
	log hclog.Logger

	mu   sync.Mutex
	seen map[string]bool // shapes of complaints; guarded by mu
}

func newLineLogger(l hclog.Logger) *log.Logger {
	return log.New(&lineWriter{log: l, seen: make(map[string]bool)}, "", 0)
}

// Write takes one line.
func (w *lineWriter) Write(line []byte) (int, error) {
	level, text := splitLine(strings.TrimSpace(string(line)))
	if level >= hclog.Warn && w.repeated(text) {
		level = hclog.Debug
	}
	// What memberlist calls information is detail here: the view logs the states.
	if level == hclog.Info {
		level = hclog.Debug
	}
	w.log.Log(level, "memberlist", "line", text)
	return len(line), nil
}

func splitLine(line string) (hclog.Level, string) {
	level := hclog.Debug
	for _, l := range []struct {
		prefix string
		level  hclog.Level
	}{{"[ERR]", hclog.Error}, {"[WARN]", hclog.Warn}, {"[INFO]", hclog.Info}, {"[DEBUG]", hclog.Debug}} {
		if rest, ok := strings.CutPrefix(line, l.prefix); ok {
			level, line = l.level, rest
		}
	}
	return level, strings.TrimPrefix(strings.TrimSpace(line), "memberlist: ")
}

func (w *lineWriter) repeated(text string) bool {
	shape := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[shape] {
		return true
	}
	if len(w.seen) >= lineShapesMax {
		clear(w.seen)
	}
	w.seen[shape] = true
	return false
}
