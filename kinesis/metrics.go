package kinesis

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what the server does.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	in, out  *prometheus.CounterVec
	spoken   map[spoken]prometheus.Counter // immutable
}

// spoken is how a client talks.
type spoken struct {
	http2 bool
	body  format
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "levada_kinesis_requests_total", Help: "Requests to the Kinesis API, by operation and error code, \"ok\" for none.",
		}, []string{"operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "levada_kinesis_request_seconds", Help: "Time from a request's header to the end of its answer, by operation; of SubscribeToShard how long subscriptions lasted.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"operation"}),
		in: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "levada_kinesis_request_bytes_total", Help: "Bytes of the bodies of requests to the Kinesis API, by operation.",
		}, []string{"operation"}),
		out: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "levada_kinesis_answer_bytes_total", Help: "Bytes of the bodies of answers of the Kinesis API, by operation.",
		}, []string{"operation"}),
	}
	protocols := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "levada_kinesis_protocol_requests_total", Help: "Requests to the Kinesis API, by the version of HTTP and the format of the body that the client chose.",
	}, []string{"http", "body"})
	m.spoken = map[spoken]prometheus.Counter{}
	for f, name := range map[format]string{formatNone: "none", formatJSON: "json", formatCBOR: "cbor"} {
		m.spoken[spoken{false, f}] = protocols.WithLabelValues("1", name)
		m.spoken[spoken{true, f}] = protocols.WithLabelValues("2", name)
	}
	if registry != nil {
		registry.MustRegister(m.requests, m.seconds, m.in, m.out, protocols)
	}
	return m
}

// begin counts a request that has arrived.
func (m *metrics) begin(c *call) {
	m.spoken[spoken{c.r.ProtoMajor == 2, c.format}].Inc()
}

// observe counts a request that has been answered.
func (m *metrics) observe(c *call) {
	name, code := c.operation(), c.code
	if code == "" {
		code = "ok"
	}
	m.requests.WithLabelValues(name, code).Inc()
	m.seconds.WithLabelValues(name).Observe(time.Since(c.begun).Seconds())
	m.in.WithLabelValues(name).Add(float64(len(c.body)))
	m.out.WithLabelValues(name).Add(float64(c.sent))
}
