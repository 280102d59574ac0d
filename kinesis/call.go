package kinesis

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/levada-stream/levada/kinesis/codec"
)

// format is the format of a body.
type format uint8

const (
	formatNone format = iota
	formatJSON
	formatCBOR
)

// The media types of the formats.
const (
	typeJSON = "application/x-amz-json-1.1"
	typeCBOR = "application/x-amz-cbor-1.1"
)

// formatOf returns the format that a Content-Type names.
func formatOf(contentType string) format {
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case typeJSON, "application/json":
		return formatJSON
	case typeCBOR:
		return formatCBOR
	}
	return formatNone
}

func (f format) mediaType() string {
	if f == formatCBOR {
		return typeCBOR
	}
	return typeJSON
}

func (f format) writer(b []byte) codec.Writer {
	if f == formatCBOR {
		return codec.NewCBORWriter(b)
	}
	return codec.NewJSONWriter(b)
}

// call is one request on its way through the server. It belongs to one goroutine.
type call struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	id     string
	format format
	begun  time.Time
	op     *operation // nil until it is known
	body   []byte
	caller caller
	stream string // the name of the one that the request is about, "" for none

	// What became of it, for the metrics.
	code string // of the error, "" for none
	sent int
}

// newRequestID returns a random UUID.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := make([]byte, 0, 36)
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}

// newExtendedID returns the second name that the service gives a request: bytes that mean nothing to anybody else, in base64.
func newExtendedID() string {
	var b [57]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the program instead
	return base64.StdEncoding.EncodeToString(b[:])
}

// reader reads the body; what it returns may be part of it.
func (c *call) reader() codec.Reader {
	switch {
	case c.format == formatCBOR:
		return codec.NewCBOR(c.body)
	case len(c.body) == 0:
		return codec.NewJSON([]byte("{}"))
	}
	return codec.NewJSON(c.body)
}

// reply answers with a struct, or with an empty body if out is nil.
func (c *call) reply(out any) error {
	if out == nil {
		c.send(http.StatusOK, nil)
		return nil
	}
	w := c.format.writer(nil)
	codec.Encode(w, out)
	c.send(http.StatusOK, w.Bytes())
	return nil
}

// send answers with a body. That the caller is gone shows in nothing but the connection.
func (c *call) send(status int, body []byte) {
	header := c.w.Header()
	header.Set("Content-Type", c.format.mediaType())
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(answerTimeout)) // a writer that cannot is a test's
	c.w.WriteHeader(status)
	n, _ := c.w.Write(body)
	c.sent += n
}

// fail answers with an error.
func (c *call) fail(err error) {
	e := asAPIError(err)
	c.code = e.code
	if e.status >= http.StatusInternalServerError {
		c.server.log.Warn("a request failed", "operation", c.operation(), "request", c.id, "error", err)
	}
	c.w.Header().Set("x-amzn-ErrorType", e.code)
	member := "message"
	if e.code == codeSerialization {
		member = "Message" // as the original spells it in this one error
	}
	w := c.format.writer(nil)
	w.Begin(codec.Object)
	w.Name("__type")
	w.Text(e.code)
	w.Name(member)
	w.Text(e.message)
	w.End(codec.Object)
	c.send(e.status, w.Bytes())
}

// operation names what was asked for, for logs and metrics.
func (c *call) operation() string {
	if c.op == nil {
		return "unknown"
	}
	return c.op.name
}

// operation is one operation of the API.
type operation struct {
	name    string
	bodyMax int
	streams bool // the answer goes on for longer than a call may take
	run     func(ctx context.Context, s *Server, c *call) error
}

// located is an input that tells which stream it is about, "" if it is about none.
type located interface {
	locate(s *Server) (stream string, err error)
}

// input is a pointer to an input.
type input[I any] interface {
	*I
	located
}

// op makes an operation of a function from an input to an output. Both are structs whose fields are named as the API's members; an output of
// nil is an empty body. The function runs only for a caller who may do this with the stream, whose name is c.stream.
func op[I, O any, P input[I]](name string, do func(ctx context.Context, s *Server, c *call, in P) (*O, error)) operation {
	return operation{name: name, bodyMax: controlBodyMax, run: func(ctx context.Context, s *Server, c *call) error {
		in := P(new(I))
		if err := codec.Decode(c.reader(), in); err != nil {
			return err
		}
		if err := s.admit(ctx, c, in); err != nil {
			return err
		}
		out, err := do(ctx, s, c, in)
		if err != nil {
			return err
		}
		if out == nil {
			return c.reply(nil)
		}
		return c.reply(out)
	}}
}

// admit holds an input against its constraints, finds the stream that it is about, and asks whether the caller may.
func (s *Server) admit(ctx context.Context, c *call, in located) (err error) {
	if err := s.validate(in); err != nil {
		return err
	}
	if c.stream, err = in.locate(s); err != nil {
		return err
	}
	return s.authorize(ctx, c.caller, c.op.name, c.stream)
}

// nothing is the output of operations that have none.
type nothing struct{}

// general is embedded in inputs that are about no stream.
type general struct{}

func (*general) locate(*Server) (string, error) { return "", nil }
