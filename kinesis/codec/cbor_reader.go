package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// cborReader reads RFC 8949: lengths may be known or not, integers and floats of any width, undefined is null.
type cborReader struct {
	b     []byte
	at    int
	depth int
	// left is, by depth, how many elements or members are still to come; indefinite if the end is marked.
	left [depthMax]int
	isKV [depthMax]bool
	name []byte
	err  error
}

// indefinite stands for a length that is not known beforehand.
const indefinite = -1

// The major types of CBOR, and the simple values that matter.
const (
	majorUint, majorNegInt, majorBytes, majorText   = 0, 1, 2, 3
	majorArray, majorMap, majorTag, majorSimple     = 4, 5, 6, 7
	simpleFalse, simpleTrue, simpleNull, simpleNone = 20, 21, 22, 23
	float16, float32Info, float64Info, breakInfo    = 25, 26, 27, 31
	breakByte                                       = 0xff
	tagTime                                         = 1
)

// NewCBOR reads a body in CBOR.
func NewCBOR(body []byte) Reader { return &cborReader{b: body} }

func (r *cborReader) Err() error { return r.err }

func (r *cborReader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *cborReader) syntax(text string) { r.Fail(&SyntaxError{Offset: r.at, Text: text}) }

// head is the first byte of an item and its argument.
type head struct {
	major, info byte
	argument    uint64
	next        int // where what follows begins
}

// peek reads the head that comes next, behind its tags.
func (r *cborReader) peek() (h head, ok bool) {
	for at := r.at; ; at = h.next {
		if h, ok = r.headAt(at); !ok || h.major != majorTag {
			return h, ok
		}
	}
}

// headAt reads the head at a place.
func (r *cborReader) headAt(at int) (h head, ok bool) {
	if r.err != nil {
		return h, false
	}
	if at >= len(r.b) {
		r.at = len(r.b)
		r.syntax("unexpected end of the body")
		return h, false
	}
	h.major, h.info, h.next = r.b[at]>>5, r.b[at]&31, at+1
	if h.info < 24 {
		h.argument = uint64(h.info)
		return h, true
	}
	if h.info == breakInfo {
		if h.major == majorUint || h.major == majorNegInt || h.major == majorTag {
			r.syntax("a number or tag without end")
			return h, false
		}
		return h, true
	}
	if h.info > 27 {
		r.syntax(fmt.Sprintf("reserved additional information %d", h.info))
		return h, false
	}
	size := 1 << (h.info - 24)
	if len(r.b)-h.next < size {
		r.at = len(r.b)
		r.syntax("unexpected end of the body")
		return h, false
	}
	switch p := r.b[h.next:]; size {
	case 1:
		h.argument = uint64(p[0])
	case 2:
		h.argument = uint64(binary.BigEndian.Uint16(p))
	case 4:
		h.argument = uint64(binary.BigEndian.Uint32(p))
	default:
		h.argument = binary.BigEndian.Uint64(p)
	}
	h.next += size
	return h, true
}

func (h head) kind() Kind {
	switch h.major {
	case majorUint, majorNegInt:
		return Number
	case majorBytes:
		return Bytes
	case majorText:
		return Text
	case majorArray:
		return Array
	case majorMap:
		return Object
	}
	switch h.info {
	case simpleFalse, simpleTrue:
		return Bool
	case simpleNull, simpleNone:
		return Null
	case float16, float32Info, float64Info:
		return Number
	}
	return None
}

func (r *cborReader) Kind() Kind {
	if r.err != nil || r.at >= len(r.b) {
		return None
	}
	h, ok := r.peek()
	if !ok {
		return None
	}
	return h.kind()
}

func (r *cborReader) Open(k Kind) {
	h, ok := r.peek()
	if !ok {
		return
	}
	if h.kind() != k {
		r.mismatch(h, wanted(k))
		return
	}
	if r.depth == depthMax {
		r.syntax("values nest too deep")
		return
	}
	n := indefinite
	if h.info != breakInfo {
		// Each element takes a byte at least: a length beyond the body is refused before anything is made for it.
		if h.argument > uint64(len(r.b)-h.next) {
			r.syntax("an array or map is longer than the body")
			return
		}
		n = int(h.argument)
	}
	r.left[r.depth], r.isKV[r.depth] = n, k == Object
	r.depth++
	r.at = h.next
}

// mismatch notes that the value that comes next is not what is wanted.
func (r *cborReader) mismatch(h head, want string) {
	switch found := h.kind(); {
	case found == None:
		r.syntax("an unknown simple value or a break")
	case found == Null:
		r.Fail(&TypeError{"Unexpected null where a " + want + " is expected"})
	case found != Number:
		r.Fail(unfit(found, "", want))
	case h.major == majorSimple:
		r.Fail(unfit(found, "java.lang.Double", want))
	case h.argument > math.MaxInt32:
		r.Fail(unfit(found, "java.lang.Long", want))
	default:
		r.Fail(unfit(found, "java.lang.Integer", want))
	}
}

func (r *cborReader) More() bool {
	if r.err != nil || r.depth == 0 {
		return false
	}
	left := &r.left[r.depth-1]
	switch {
	case *left == 0:
		r.depth--
		return false
	case *left == indefinite && r.at < len(r.b) && r.b[r.at] == breakByte:
		r.at++
		r.depth--
		return false
	case *left > 0:
		*left--
	}
	if r.isKV[r.depth-1] {
		r.name = r.Text()
	}
	return r.err == nil
}

func (r *cborReader) Name() []byte { return r.name }

func (r *cborReader) Text() []byte {
	h, ok := r.peek()
	if !ok {
		return nil
	}
	if h.major != majorText {
		r.mismatch(h, "String")
		return nil
	}
	s := r.chunks(h)
	if r.err == nil && !utf8.Valid(s) {
		r.syntax("a string is not UTF-8")
		return nil
	}
	return s
}

func (r *cborReader) Blob() []byte {
	h, ok := r.peek()
	if !ok {
		return nil
	}
	if h.major != majorBytes {
		r.mismatch(h, "Blob")
		return nil
	}
	return r.chunks(h)
}

// chunks reads the bytes of a string: a part of the body, or one of its own if it came in pieces.
func (r *cborReader) chunks(h head) []byte {
	if h.info != breakInfo {
		return r.chunk(h)
	}
	var out []byte
	for r.at = h.next; ; {
		if r.at < len(r.b) && r.b[r.at] == breakByte {
			r.at++
			return out
		}
		piece, ok := r.headAt(r.at)
		if !ok {
			return nil
		}
		if piece.major != h.major || piece.info == breakInfo {
			r.syntax("a string has a piece of another kind")
			return nil
		}
		if out = append(out, r.chunk(piece)...); r.err != nil {
			return nil
		}
	}
}

func (r *cborReader) chunk(h head) []byte {
	if h.argument > uint64(len(r.b)-h.next) {
		r.syntax("a string is longer than the body")
		return nil
	}
	r.at = h.next + int(h.argument)
	return r.b[h.next:r.at:r.at]
}

func (r *cborReader) Int() int64 {
	h, ok := r.peek()
	if !ok {
		return 0
	}
	if h.kind() != Number {
		r.mismatch(h, "Integer")
		return 0
	}
	r.at = h.next
	return h.integer()
}

// integer is the value of a number, cut off or nearest.
func (h head) integer() int64 {
	switch h.major {
	case majorUint:
		return int64(min(h.argument, math.MaxInt64))
	case majorNegInt:
		return -1 - int64(min(h.argument, math.MaxInt64))
	}
	return clamp(h.float())
}

// float is the value of a floating-point number.
func (h head) float() float64 {
	switch h.info {
	case float32Info:
		return float64(math.Float32frombits(uint32(h.argument)))
	case float64Info:
		return math.Float64frombits(h.argument)
	}
	// RFC 8949, appendix D.
	exp, mantissa := h.argument>>10&0x1f, float64(h.argument&0x3ff)
	var v float64
	switch exp {
	case 0:
		v = math.Ldexp(mantissa, -24)
	case 31:
		if v = math.Inf(1); mantissa != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(mantissa+1024, int(exp)-25)
	}
	if h.argument&0x8000 != 0 {
		v = -v
	}
	return v
}

// Time reads what tag 1 marks: an integer is milliseconds, as the clients of the service send it, and a float seconds, as the tag's
// definition has it.
func (r *cborReader) Time() int64 {
	h, ok := r.peek()
	if !ok {
		return 0
	}
	if h.kind() != Number {
		r.mismatch(h, "Date")
		return 0
	}
	r.at = h.next
	if h.major == majorSimple {
		return clamp(math.Round(h.float() * 1000))
	}
	return h.integer()
}

func (r *cborReader) Bool() bool {
	h, ok := r.peek()
	if !ok {
		return false
	}
	if h.kind() != Bool {
		r.mismatch(h, "Boolean")
		return false
	}
	r.at = h.next
	return h.info == simpleTrue
}

func (r *cborReader) Skip() {
	h, ok := r.peek()
	if !ok {
		return
	}
	switch h.kind() {
	case Text:
		r.Text()
	case Bytes:
		r.Blob()
	case Number, Bool, Null:
		r.at = h.next
	case Array, Object:
		for r.Open(h.kind()); r.More(); {
			r.Skip()
		}
	default:
		r.mismatch(h, "value")
	}
}

func (r *cborReader) End() {
	if r.err == nil && r.at < len(r.b) {
		r.syntax("something follows the value")
	}
}
