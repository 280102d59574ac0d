package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
	"github.com/levada-stream/levada/kinesis/sigv4"
)

// Options are the settings of a Server. Account and Region must be set; the zero value of every other field is its default.
type Options struct {
	// Account is the twelve-digit number under which ARNs name the streams, Region the region in them.
	Account, Region string
	// Keys finds the access key of an id. An error says that it cannot tell now whether there is one. It is asked for every request, with any text. Nil: there are none.
	Keys func(id string) (Key, bool, error)
	// Anonymous lets everybody do everything, whatever the signature.
	Anonymous bool
	// Limits is the profile of streams that have none of their own, by the tag levada:limits.
	Limits LimitsProfile
	// BodyBytesMax bounds what the bodies of all requests at a time take. 0 = 256 MiB.
	BodyBytesMax int64
	// AnswerBytesMax bounds what the answers with records take that clients have not taken yet. 0 = 256 MiB.
	AnswerBytesMax int64
	// Now is the clock. Nil: the system's.
	Now func() time.Time
	Log hclog.Logger
	// Metrics registers the server's metrics. Nil: nowhere.
	Metrics prometheus.Registerer
}

// LimitsProfile says which limits of the original service hold.
type LimitsProfile string

const (
	// LimitsNone holds no rates against anybody.
	LimitsNone LimitsProfile = "none"
	// LimitsKinesis holds a shard's readers and writers to the original's rates.
	LimitsKinesis LimitsProfile = "kinesis"
)

func (p LimitsProfile) valid() bool { return p == LimitsNone || p == LimitsKinesis }

var accountPattern = regexp.MustCompile(`\A\d{12}\z`)

func (o Options) withDefaults() (Options, error) {
	if !accountPattern.MatchString(o.Account) {
		return o, fmt.Errorf("kinesis account %q: twelve digits are needed", o.Account)
	}
	if o.Region == "" {
		return o, fmt.Errorf("kinesis region is empty")
	}
	switch o.Limits {
	case "":
		o.Limits = LimitsNone
	case LimitsNone, LimitsKinesis:
	default:
		return o, fmt.Errorf("kinesis limits %q: none or kinesis", o.Limits)
	}
	if o.BodyBytesMax == 0 {
		o.BodyBytesMax = 256 << 20
	}
	if o.AnswerBytesMax == 0 {
		o.AnswerBytesMax = 256 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Keys == nil {
		o.Keys = func(string) (Key, bool, error) { return Key{}, false, nil }
	}
	return o, nil
}

// Server answers the API. It is an http.Handler; Close ends what it runs.
type Server struct {
	cluster    *client.Client
	opts       Options
	log        hclog.Logger
	rules      *codec.Rules
	operations map[string]*operation
	verifier   *sigv4.Verifier
	bodies     *bodies
	answers    *semaphore.Weighted // bytes
	metrics    *metrics
	producers  *producers
	streams    *streamCache
	readers    *subscriptions

	leaving atomic.Bool
	closing context.Context // ends what waits for records when the server is about to close
	close   context.CancelFunc
	closed  context.Context // ends every request
	cut     context.CancelFunc
	work    sync.WaitGroup
}

// New returns a server that reaches the cluster through c, which stays the caller's and must outlive it.
func New(c *client.Client, o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	closed, cut := context.WithCancel(context.Background())
	closing, closeAll := context.WithCancel(closed)
	s := &Server{
		cluster: c, opts: o, log: o.Log, rules: newRules(), operations: map[string]*operation{},
		verifier: &sigv4.Verifier{Service: "kinesis", Now: o.Now},
		bodies:   newBodies(o.BodyBytesMax), answers: semaphore.NewWeighted(o.AnswerBytesMax), metrics: newMetrics(o.Metrics),
		producers: newProducers(c, o.Now), streams: newStreamCache(), readers: newSubscriptions(),
		closing: closing, close: closeAll, closed: closed, cut: cut,
	}
	for _, op := range operations() {
		s.operations[op.name] = &op
	}
	s.work.Go(func() { s.producers.tend(closing) })
	return s, nil
}

// Leave lets each answer from now on tell the client to leave its connection: one that is closed under it may carry a request already.
func (s *Server) Leave() { s.leaving.Store(true) }

// EndSubscriptions ends what is pushed, as at the end of a subscription's life, and calls that wait for records, so that an HTTP server can wait for its requests.
func (s *Server) EndSubscriptions() { s.close() }

// Close ends subscriptions and flushes producers, for as long as ctx lasts. What is not answered by then is answered with an error that clients retry; records
// without a result may still be stored. The HTTP server in front should have stopped taking requests.
func (s *Server) Close(ctx context.Context) error {
	s.close()
	s.work.Wait()
	err := s.producers.closeAll(ctx)
	s.cut()
	return err
}

const (
	targetPrefix = "Kinesis_20131202."
	// controlBodyMax bounds the body of an operation without records: the largest has a policy of 20 KiB or 50 tags.
	controlBodyMax = 256 << 10
	// bodyTimeout is how long the body of a request may take to arrive, answerTimeout how long the client may take for the answer.
	bodyTimeout, answerTimeout = 30 * time.Second, 30 * time.Second
	// callTimeout bounds an operation that its caller gives all the time in the world.
	callTimeout = 25 * time.Second
)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{server: s, w: w, r: r, id: newRequestID(), format: formatOf(r.Header.Get("Content-Type")), begun: time.Now()}
	s.metrics.begin(c)
	defer func() { s.metrics.observe(c) }()
	if r.ContentLength != 0 {
		// Also of a body that nobody wants: the HTTP server reads on for a while before it sends the answer. Read whole, it has no deadline any more.
		_ = http.NewResponseController(w).SetReadDeadline(c.begun.Add(bodyTimeout)) // a writer that cannot is a test's
	}
	if r.ProtoMajor == 1 {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // the one of the connection's former answer is over
	}
	header := w.Header()
	header.Set("x-amzn-RequestId", c.id)
	header.Set("x-amz-id-2", newExtendedID())
	if s.leaving.Load() {
		header.Set("Connection", "close") // over HTTP/2 it becomes a GOAWAY
	}
	if r.Header.Get("Origin") != "" {
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Expose-Headers", "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date")
		if r.Method == http.MethodOptions {
			s.preflight(w, r)
			return
		}
	}
	if err := s.answer(c); err != nil {
		c.fail(err)
	}
}

// preflight answers what a browser asks before it sends a request from a page.
func (s *Server) preflight(w http.ResponseWriter, r *http.Request) {
	for asked, allowed := range map[string]string{
		"Access-Control-Request-Headers": "Access-Control-Allow-Headers",
		"Access-Control-Request-Method":  "Access-Control-Allow-Methods",
	} {
		if v := r.Header.Get(asked); v != "" {
			w.Header().Set(allowed, v)
		}
	}
	w.Header().Set("Access-Control-Max-Age", "172800")
	w.WriteHeader(http.StatusOK)
}

// targetHeader names the operation.
const targetHeader = "X-Amz-Target"

// targetOf returns what a request says that its operation is. Who presigns a request moves what is in its header into its query, where the signature
// covers it as well.
func targetOf(r *http.Request) string {
	if target := r.Header.Get(targetHeader); target != "" || r.URL.RawQuery == "" {
		return target
	}
	return r.URL.Query().Get(targetHeader)
}

// answer finds the operation, reads the body, asks who calls, and runs it.
func (s *Server) answer(c *call) error {
	if c.r.Method != http.MethodPost {
		return &apiError{code: codeAccessDenied, status: http.StatusForbidden, message: "Unable to determine service/operation name to be authorized"}
	}
	if c.format == formatNone {
		c.format = formatJSON // for the error
		return &apiError{code: codeUnknownOperation, status: http.StatusNotFound, message: "The Content-Type must be application/x-amz-json-1.1 or application/x-amz-cbor-1.1."}
	}
	target := targetOf(c.r)
	if len(target) <= len(targetPrefix) || target[:len(targetPrefix)] != targetPrefix || s.operations[target[len(targetPrefix):]] == nil {
		return &apiError{code: codeUnknownOperation, status: http.StatusBadRequest, message: fmt.Sprintf("The X-Amz-Target %.100q is not an operation of this service.", target)}
	}
	c.op = s.operations[target[len(targetPrefix):]]
	body, err := s.bodies.read(c.w, c.r, c.op.bodyMax)
	if err != nil {
		return err
	}
	defer s.bodies.release(body)
	c.body = body.bytes
	if c.caller, err = s.authenticate(c); err != nil {
		return err
	}
	if c.op.streams {
		return c.op.run(c.r.Context(), s, c)
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), callTimeout)
	defer cancel()
	defer context.AfterFunc(s.closed, cancel)()
	if err := c.op.run(ctx, s, c); err != nil && s.closed.Err() != nil && errors.Is(err, context.Canceled) {
		return closing()
	} else {
		return err
	}
}
