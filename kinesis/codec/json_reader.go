package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads RFC 8259. It is strict where laxity would let two readers of one body disagree: invalid UTF-8, control
// characters in strings, numbers with leading zeros and whatever follows the value are errors.
type jsonReader struct {
	b       []byte
	at      int
	depth   int
	first   bool // the array or object was just entered
	closers [depthMax]byte
	name    []byte
	err     error
}

// NewJSON reads a body in JSON.
func NewJSON(body []byte) Reader { return &jsonReader{b: body} }

func (r *jsonReader) Err() error { return r.err }

func (r *jsonReader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *jsonReader) syntax(text string) { r.Fail(&SyntaxError{Offset: r.at, Text: text}) }

// space passes over white space and returns the byte after it, 0 at the end or after an error.
func (r *jsonReader) space() byte {
	if r.err != nil {
		return 0
	}
	for ; r.at < len(r.b); r.at++ {
		switch c := r.b[r.at]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

func (r *jsonReader) Kind() Kind {
	switch c := r.space(); {
	case c == '"':
		return Text
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == 't', c == 'f':
		return Bool
	case c == 'n':
		return Null
	case c == '-', c >= '0' && c <= '9':
		return Number
	}
	return None
}

func (r *jsonReader) Open(k Kind) {
	found := r.Kind()
	if found != k {
		r.mismatch(found, wanted(k))
		return
	}
	if r.depth == depthMax {
		r.syntax("values nest too deep")
		return
	}
	r.closers[r.depth] = '}'
	if k == Array {
		r.closers[r.depth] = ']'
	}
	r.depth++
	r.at++
	r.first = true
}

// mismatch notes that the value that comes next is not what is wanted.
func (r *jsonReader) mismatch(found Kind, want string) {
	switch found {
	case None:
		if r.at >= len(r.b) {
			r.syntax("unexpected end of the body")
		} else {
			r.syntax("unexpected character " + strconv.QuoteRune(rune(r.b[r.at])))
		}
	case Null:
		r.Fail(&TypeError{"Unexpected null where a " + want + " is expected"})
	case Number:
		r.Fail(unfit(found, classOf(r.number()), want))
	default:
		r.Fail(unfit(found, "", want))
	}
}

// classOf names the class that the original service makes of a number.
func classOf(text []byte) string {
	n, err := strconv.ParseInt(string(text), 10, 64)
	switch {
	case err != nil && bytes.ContainsAny(text, ".eE"):
		return "java.lang.Double"
	case err != nil:
		return "java.math.BigInteger"
	case n > math.MaxInt32 || n < math.MinInt32:
		return "java.lang.Long"
	}
	return "java.lang.Integer"
}

func (r *jsonReader) More() bool {
	c := r.space()
	if r.err != nil || r.depth == 0 {
		return false
	}
	closer := r.closers[r.depth-1]
	if c == closer {
		r.at++
		r.depth--
		r.first = false
		return false
	}
	if !r.first {
		if c != ',' {
			r.syntax("expected a comma or the end of an array or object")
			return false
		}
		r.at++
		c = r.space()
	}
	r.first = false
	if closer == ']' {
		if r.Kind() == None {
			r.syntax("expected a value")
			return false
		}
		return true
	}
	if c != '"' {
		r.syntax("expected the name of a member")
		return false
	}
	r.name = r.text()
	if r.space() != ':' {
		r.syntax("expected a colon")
		return false
	}
	r.at++
	return r.err == nil
}

func (r *jsonReader) Name() []byte { return r.name }

func (r *jsonReader) Text() []byte {
	if found := r.Kind(); found != Text {
		r.mismatch(found, "String")
		return nil
	}
	return r.text()
}

// text reads the string at whose quote the reader stands. Without escapes it is a part of the body.
func (r *jsonReader) text() []byte {
	start := r.at + 1
	end := bytes.IndexByte(r.b[start:], '"')
	if end < 0 {
		r.at = len(r.b)
		r.syntax("a string does not end")
		return nil
	}
	plain := r.b[start : start+end]
	if bytes.IndexByte(plain, '\\') >= 0 {
		return r.escaped(start)
	}
	r.at = start + end + 1
	if !r.checkText(plain) {
		return nil
	}
	return plain
}

// highBits are the highest bits of eight bytes.
const highBits = 0x8080808080808080

// checkText holds the bytes of a string against what may stand in one.
func (r *jsonReader) checkText(s []byte) bool {
	control, high := uint64(0), uint64(0) // not 0 where there is such a byte
	rest := s
	for ; len(rest) >= 8; rest = rest[8:] {
		eight := binary.LittleEndian.Uint64(rest)
		high |= eight & highBits
		control |= (eight - ' '*(highBits>>7)) &^ eight & highBits // a byte below a space borrows from its highest bit
	}
	for _, c := range rest {
		high |= uint64(c & utf8.RuneSelf)
		if c < ' ' {
			control = 1
		}
	}
	if control != 0 {
		r.syntax("a control character in a string")
		return false
	}
	if high != 0 && !utf8.Valid(s) {
		r.syntax("a string is not UTF-8")
		return false
	}
	return true
}

// escaped reads a string with escapes, of which start is the first byte, into memory of its own.
func (r *jsonReader) escaped(start int) []byte {
	var out []byte
	for r.at = start; r.at < len(r.b); {
		switch c := r.b[r.at]; c {
		case '"':
			r.at++
			if !r.checkUTF8(out) {
				return nil
			}
			return out
		case '\\':
			out = r.escape(out)
			if r.err != nil {
				return nil
			}
		default:
			if c < ' ' {
				r.syntax("a control character in a string")
				return nil
			}
			out = append(out, c)
			r.at++
		}
	}
	r.syntax("a string does not end")
	return nil
}

func (r *jsonReader) checkUTF8(s []byte) bool {
	if utf8.Valid(s) {
		return true
	}
	r.syntax("a string is not UTF-8")
	return false
}

// plainEscapes are the escapes of one character.
const plainEscapes = `"\/bfnrt`

// plainMeanings are what they stand for, in the same order.
const plainMeanings = "\"\\/\b\f\n\r\t"

// escape appends what the escape at the reader's place stands for.
func (r *jsonReader) escape(out []byte) []byte {
	if r.at+1 >= len(r.b) {
		r.at = len(r.b)
		r.syntax("a string does not end")
		return out
	}
	c := r.b[r.at+1]
	for i := range len(plainEscapes) {
		if c == plainEscapes[i] {
			r.at += 2
			return append(out, plainMeanings[i])
		}
	}
	if c != 'u' {
		r.syntax("an unknown escape in a string")
		return out
	}
	first := r.unit()
	if r.err != nil || !utf16.IsSurrogate(first) {
		return utf8.AppendRune(out, first)
	}
	// A surrogate without its other half stands for nothing: as in encoding/json it becomes U+FFFD.
	if r.at+1 < len(r.b) && r.b[r.at] == '\\' && r.b[r.at+1] == 'u' {
		before := r.at
		if both := utf16.DecodeRune(first, r.unit()); both != utf8.RuneError || r.err != nil {
			return utf8.AppendRune(out, both)
		}
		r.at = before
	}
	return utf8.AppendRune(out, utf8.RuneError)
}

// unit reads an escape of four hexadecimal digits.
func (r *jsonReader) unit() rune {
	if r.at+6 > len(r.b) {
		r.at = len(r.b)
		r.syntax("a string does not end")
		return 0
	}
	var n rune
	for _, c := range r.b[r.at+2 : r.at+6] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | rune(c-'A'+10)
		default:
			r.syntax("a bad \\u escape in a string")
			return 0
		}
	}
	r.at += 6
	return n
}

func (r *jsonReader) Blob() []byte {
	if found := r.Kind(); found != Text {
		r.mismatch(found, "Blob")
		return nil
	}
	text := r.text()
	if r.err != nil || len(text) == 0 {
		return nil
	}
	if len(text)%4 != 0 {
		r.Fail(&TypeError{quoteShort(text) + " can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: " + strconv.Itoa(len(text))})
		return nil
	}
	// The decoder reads eight bytes before it writes the six that they become, so that both may share memory.
	n, err := base64.StdEncoding.Decode(text, text)
	if err != nil || n < len(text)/4*3-2 { // it would pass over line breaks
		r.Fail(&TypeError{"The value can not be converted to a Blob: Invalid Base64"})
		return nil
	}
	return text[:n:n]
}

// quoteShort quotes the beginning of a text for a message.
func quoteShort(text []byte) string {
	const shown = 64
	if len(text) > shown {
		return "'" + string(bytes.ToValidUTF8(text[:shown], nil)) + "…'"
	}
	return "'" + string(text) + "'"
}

// number reads the digits of the number that comes next.
func (r *jsonReader) number() []byte {
	start := r.at
	digits := func() (n int) {
		for ; r.at < len(r.b) && r.b[r.at] >= '0' && r.b[r.at] <= '9'; r.at++ {
			n++
		}
		return n
	}
	peek := func() byte {
		if r.at < len(r.b) {
			return r.b[r.at]
		}
		return 0
	}
	if peek() == '-' {
		r.at++
	}
	zero := peek() == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		r.syntax("a malformed number")
		return nil
	}
	if peek() == '.' {
		r.at++
		if digits() == 0 {
			r.syntax("a malformed number")
			return nil
		}
	}
	if c := peek(); c == 'e' || c == 'E' {
		r.at++
		if c := peek(); c == '+' || c == '-' {
			r.at++
		}
		if digits() == 0 {
			r.syntax("a malformed number")
			return nil
		}
	}
	return r.b[start:r.at]
}

func (r *jsonReader) Int() int64 {
	if found := r.Kind(); found != Number {
		r.mismatch(found, "Integer")
		return 0
	}
	text := r.number()
	if r.err != nil {
		return 0
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n
	}
	f, _ := strconv.ParseFloat(string(text), 64) // out of range is infinite, as wanted
	return clamp(f)
}

func (r *jsonReader) Time() int64 {
	if found := r.Kind(); found != Number {
		r.mismatch(found, "Date")
		return 0
	}
	text := r.number()
	if r.err != nil {
		return 0
	}
	f, _ := strconv.ParseFloat(string(text), 64)
	return clamp(math.Round(f * 1000))
}

// clamp returns the int64 that is nearest to zero's side of f.
func clamp(f float64) int64 {
	switch {
	case f != f:
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

func (r *jsonReader) Bool() bool {
	if found := r.Kind(); found != Bool {
		r.mismatch(found, "Boolean")
		return false
	}
	if r.word("true") {
		return true
	}
	if !r.word("false") {
		r.syntax("a malformed word")
	}
	return false
}

// word passes over a word if it comes next.
func (r *jsonReader) word(w string) bool {
	if !bytes.HasPrefix(r.b[r.at:], []byte(w)) {
		return false
	}
	r.at += len(w)
	return true
}

func (r *jsonReader) Skip() {
	switch found := r.Kind(); found {
	case Text:
		r.text()
	case Number:
		r.number()
	case Bool:
		r.Bool()
	case Null:
		if !r.word("null") {
			r.syntax("a malformed word")
		}
	case Array, Object:
		for r.Open(found); r.More(); {
			r.Skip()
		}
	default:
		r.mismatch(found, "value")
	}
}

func (r *jsonReader) End() {
	if r.space(); r.err == nil && r.at < len(r.b) {
		r.syntax("something follows the value")
	}
}
