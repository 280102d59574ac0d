package codec

import "fmt"

// Kind is the kind of a value.
type Kind uint8

// The kinds of values. None is what there is after an error or at the end.
const (
	None Kind = iota
	Null
	Bool
	Number
	Text
	Bytes // CBOR only: JSON has Text for it
	Array
	Object
)

// depthMax is how deep values may nest. The deepest input of the API has six levels.
const depthMax = 32

// Reader pulls the values of one body. What it returns as a slice is part of the body or memory of its own, and stays as it is as long as the body does;
// Blob decodes in place, so that the body is no longer what it was.
type Reader interface {
	// Kind tells what comes next.
	Kind() Kind
	// Open enters an array or an object.
	Open(k Kind)
	// More reports whether another element or member follows, and leaves the array or object if not.
	More() bool
	// Name is that of the member that More announced.
	Name() []byte
	// Text reads a string.
	Text() []byte
	// Blob reads binary data.
	Blob() []byte
	// Int reads a whole number. A fraction is cut off; what no int64 holds becomes the nearest that one does.
	Int() int64
	// Time reads a point in time, in unix ms.
	Time() int64
	// Bool reads a truth value.
	Bool() bool
	// Skip passes over one value of any kind.
	Skip()
	// End notes an error if anything follows.
	End()
	// Fail notes an error, unless there is one.
	Fail(err error)
	// Err is the first error, a *SyntaxError or a *TypeError if the body is at fault.
	Err() error
}

// SyntaxError says that a body is not of its format.
type SyntaxError struct {
	Offset int
	Text   string
}

// Error is the text and where.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Text, e.Offset) }

// TypeError says that a body has a value of a kind that does not belong where it is. Text is worded as the service does.
type TypeError struct{ Text string }

// Error is the text.
func (e *TypeError) Error() string { return e.Text }

// unfit is the error of a value of one kind where another is expected. The words are those of the original service, whose clients' tests know them.
func unfit(found Kind, class, want string) *TypeError {
	switch found {
	case Array:
		return &TypeError{"Start of list found where not expected"}
	case Object:
		return &TypeError{"Start of structure or map found where not expected."}
	case Bool:
		class = "java.lang.Boolean"
	case Text:
		class = "java.lang.String"
	case Bytes:
		class = "java.nio.ByteBuffer"
	}
	switch want {
	case "List", "Structure":
		return &TypeError{"Unexpected field type"}
	case "Blob":
		return &TypeError{"class " + class + " can not be converted to a Blob"}
	}
	return &TypeError{"class " + class + " can not be converted to an " + want}
}

// wanted names a kind to open as the service does.
func wanted(k Kind) string {
	if k == Array {
		return "List"
	}
	return "Structure"
}
