package codec

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Writer appends one body to a slice. Its caller writes a value after each name, and ends what it begins.
type Writer interface {
	// Begin begins an array or object, End ends it.
	Begin(k Kind)
	End(k Kind)
	// Name names the member whose value comes next.
	Name(name string)
	// Text writes a string; bytes that are not UTF-8 become U+FFFD.
	Text(s string)
	// Blob writes binary data.
	Blob(b []byte)
	Int(n int64)
	Float(f float64)
	Bool(v bool)
	// Time writes a point in time given in unix ms.
	Time(ms int64)
	// Bytes is what was written so far.
	Bytes() []byte
}

// NewJSONWriter appends JSON to b.
func NewJSONWriter(b []byte) Writer { return &jsonWriter{b: b, start: len(b)} }

// NewCBORWriter appends CBOR to b.
func NewCBORWriter(b []byte) Writer { return &cborWriter{b: b} }

type jsonWriter struct {
	b     []byte
	start int
}

func (w *jsonWriter) Bytes() []byte { return w.b }

// next writes the comma between two values. What was written last tells whether one is due.
func (w *jsonWriter) next() {
	if len(w.b) == w.start {
		return
	}
	switch w.b[len(w.b)-1] {
	case '{', '[', ':':
	default:
		w.b = append(w.b, ',')
	}
}

func (w *jsonWriter) Begin(k Kind) {
	w.next()
	if k == Array {
		w.b = append(w.b, '[')
		return
	}
	w.b = append(w.b, '{')
}

func (w *jsonWriter) End(k Kind) {
	if k == Array {
		w.b = append(w.b, ']')
		return
	}
	w.b = append(w.b, '}')
}

func (w *jsonWriter) Name(name string) {
	w.Text(name)
	w.b = append(w.b, ':')
}

const hexDigits = "0123456789abcdef"

func (w *jsonWriter) Text(s string) {
	w.next()
	w.b = append(w.b, '"')
	done := 0 // what was copied
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				w.b = append(append(w.b, s[done:i]...), "\uFFFD"...)
				done = i + 1
			}
			i += size
			continue
		}
		w.b = append(w.b, s[done:i]...)
		switch c {
		case '"', '\\':
			w.b = append(w.b, '\\', c)
		case '\n':
			w.b = append(w.b, '\\', 'n')
		default:
			w.b = append(w.b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		done = i
	}
	w.b = append(append(w.b, s[done:]...), '"')
}

func (w *jsonWriter) Blob(b []byte) {
	w.next()
	w.b = append(w.b, '"')
	w.b = base64.StdEncoding.AppendEncode(w.b, b)
	w.b = append(w.b, '"')
}

func (w *jsonWriter) Int(n int64) {
	w.next()
	w.b = strconv.AppendInt(w.b, n, 10)
}

// Float writes no exponent: not every client reads one.
func (w *jsonWriter) Float(f float64) {
	w.next()
	w.b = strconv.AppendFloat(w.b, f, 'f', -1, 64)
}

func (w *jsonWriter) Bool(v bool) {
	w.next()
	w.b = strconv.AppendBool(w.b, v)
}

// Time writes seconds as a plain decimal: some clients do not read an exponent.
func (w *jsonWriter) Time(ms int64) {
	w.next()
	n := uint64(ms)
	if ms < 0 {
		w.b = append(w.b, '-')
		n = -n // the least of all has no positive counterpart among the int64
	}
	w.b = strconv.AppendUint(w.b, n/1000, 10)
	if n %= 1000; n != 0 {
		w.b = append(w.b, '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
	}
}

// cborWriter writes arrays and maps without their lengths, as the original service does.
type cborWriter struct{ b []byte }

func (w *cborWriter) Bytes() []byte { return w.b }

func (w *cborWriter) Begin(k Kind) {
	if k == Array {
		w.b = append(w.b, majorArray<<5|breakInfo)
		return
	}
	w.b = append(w.b, majorMap<<5|breakInfo)
}

func (w *cborWriter) End(Kind) { w.b = append(w.b, breakByte) }

// head appends a first byte and its argument in the shortest form.
func (w *cborWriter) head(major byte, argument uint64) {
	switch {
	case argument < 24:
		w.b = append(w.b, major<<5|byte(argument))
	case argument <= math.MaxUint8:
		w.b = append(w.b, major<<5|24, byte(argument))
	case argument <= math.MaxUint16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, major<<5|25), uint16(argument))
	case argument <= math.MaxUint32:
		w.b = binary.BigEndian.AppendUint32(append(w.b, major<<5|26), uint32(argument))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, major<<5|27), argument)
	}
}

func (w *cborWriter) Name(name string) { w.Text(name) }

func (w *cborWriter) Text(s string) {
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // each byte that is none becomes U+FFFD
	}
	w.head(majorText, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *cborWriter) Blob(b []byte) {
	w.head(majorBytes, uint64(len(b)))
	w.b = slices.Grow(w.b, len(b))
	w.b = append(w.b, b...)
}

func (w *cborWriter) Int(n int64) {
	if n < 0 {
		w.head(majorNegInt, uint64(-1-n))
		return
	}
	w.head(majorUint, uint64(n))
}

func (w *cborWriter) Float(f float64) {
	w.b = binary.BigEndian.AppendUint64(append(w.b, majorSimple<<5|float64Info), math.Float64bits(f))
}

func (w *cborWriter) Bool(v bool) {
	if v {
		w.b = append(w.b, majorSimple<<5|simpleTrue)
		return
	}
	w.b = append(w.b, majorSimple<<5|simpleFalse)
}

// Time writes whole milliseconds with tag 1. A float, as the tag's definition would have it, breaks the clients that speak this format.
func (w *cborWriter) Time(ms int64) {
	w.b = append(w.b, majorTag<<5|tagTime)
	w.Int(ms)
}
