package main

import "fmt"

// row is one line of the table: a limit to the time of a benchmark beside another's, or to what it allocates.
type row struct {
	what    string
	subject bench

	// reference and ratio: the subject takes at most ratio times as long. Without a reference the row is about memory.
	reference bench
	ratio     float64

	// allocs and bytes: the subject allocates at most so often, and a tenth more bytes than bytes, or slack.
	allocs, bytes float64

	notices string // the fault that this row has to notice; empty if none is built for it
}

// bytesSlack is how many bytes per operation are noise: a buffer that grew once, spread over few operations.
const bytesSlack = 64

func (r row) timed() bool { return r.reference != bench{} }

func (r row) benches() []bench {
	if r.timed() {
		return []bench{r.subject, r.reference}
	}
	return []bench{r.subject}
}

// verdict is what became of a row.
type verdict struct {
	broken bool
	text   string
}

func (r row) judge(best map[bench]reading) verdict {
	got := best[r.subject]
	if r.timed() {
		other := best[r.reference]["ns/op"]
		ratio := got["ns/op"] / other
		return verdict{
			broken: !(ratio <= r.ratio), // also if it is no number
			text: fmt.Sprintf("%-58s %7.3f ×, at most %6.3f   (%.0f ns beside %.0f ns of %s %s)",
				r.what, ratio, r.ratio, got["ns/op"], other, r.reference.pkg, r.reference.name),
		}
	}
	allocs, bytes := got["allocs/op"], got["B/op"]
	v := verdict{
		broken: allocs > r.allocs || bytes > r.bytes*1.1+bytesSlack,
		text:   fmt.Sprintf("%-58s %5.0f allocations, at most %4.0f; %8.0f bytes, at most %8.0f", r.what, allocs, r.allocs, bytes, r.bytes*1.1+bytesSlack),
	}
	if !v.broken && (allocs < r.allocs || bytes < r.bytes*0.9-bytesSlack) {
		v.text += "   less than it may: lower the limit"
	}
	return v
}
