package kinesis

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/levada-stream/levada/kinesis/codec"
)

// consumerRef names a consumer: by its ARN, or by its stream's and its name.
type consumerRef struct {
	ConsumerARN  *string `is:"len=1:2048;match=consumerARN"`
	StreamARN    *string `is:"len=1:2048;match=streamARN"`
	ConsumerName *string `is:"len=1:128;match=streamName"`
}

func (r *consumerRef) locate(s *Server) (string, error) {
	if r.ConsumerARN != nil {
		a, ok := parseARN(*r.ConsumerARN)
		stream, consumer, _, isStream := a.stream()
		if !ok || !isStream || consumer == "" {
			return "", fail(codeInvalidArgument, "The consumer ARN %s is not valid.", *r.ConsumerARN)
		}
		if a.account != s.opts.Account || a.region != s.opts.Region {
			return "", s.noConsumer(a.account, *r.ConsumerARN)
		}
		return stream, nil
	}
	if r.StreamARN == nil || r.ConsumerName == nil {
		return "", fail(codeInvalidArgument, "Either ConsumerARN or both StreamARN and ConsumerName must be given.")
	}
	return s.resolve(&streamRef{StreamARN: r.StreamARN})
}

func (s *Server) noConsumer(account, name string) *apiError {
	return fail(codeResourceNotFound, "Consumer %s under account %s not found.", name, account)
}

// consumer is one that exists.
type consumer struct {
	name string
	doc  consumerDoc
}

// consumer finds the consumer that a request names, and holds the request against its policy. An ARN of an earlier one of the same name names none.
func (s *Server) consumer(ctx context.Context, c *call, r *consumerRef) (*consumer, error) {
	name, created := "", int64(0)
	if r.ConsumerARN != nil {
		a, _ := parseARN(*r.ConsumerARN)
		_, name, created, _ = a.stream()
	} else {
		name = *r.ConsumerName
	}
	doc, version, err := readDoc[consumerDoc](ctx, s, c.stream, docConsumerPrefix+name)
	for made := time.Unix(created, 0); err == nil && version == 0 && s.unheard(made); {
		if err = pause(ctx); err == nil {
			doc, version, err = readDoc[consumerDoc](ctx, s, c.stream, docConsumerPrefix+name)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case version == 0, r.ConsumerARN != nil && doc.Created/1000 != created:
		if r.ConsumerARN != nil {
			name = *r.ConsumerARN
		}
		return nil, s.noConsumer(s.opts.Account, name)
	}
	if doc.Policy != "" && !c.caller.anonymous {
		resource := s.consumerARN(c.stream, name, doc.Created/1000)
		p, err := parsePolicy(doc.Policy, resource)
		if err != nil {
			return nil, internalFailure("The policy of %s cannot be read: %v", resource, err)
		}
		if p.judge(c.caller, c.op.name) == policyDenies {
			return nil, denied(c.caller, c.op.name, resource, " with an explicit deny in a resource-based policy")
		}
	}
	return &consumer{name: name, doc: doc}, nil
}

// hearsayMax is how long a change that one node has acknowledged may be unknown to another: usually milliseconds, and an election if the first died.
const hearsayMax = 5 * time.Second

// unheard reports whether something that was made at a time, by a clock in whole seconds, may exist though this node does not know it.
func (s *Server) unheard(made time.Time) bool {
	age := s.opts.Now().Sub(made)
	return age > -clockSlack && age < hearsayMax
}

// consumersOf returns the consumers of a stream by name.
func (s *Server) consumersOf(ctx context.Context, stream string) ([]consumer, error) {
	docs, err := s.cluster.Documents(ctx, stream, docConsumerPrefix)
	if err != nil {
		return nil, s.streamError(stream, err)
	}
	all := make([]consumer, 0, len(docs))
	for _, d := range docs {
		one := consumer{name: strings.TrimPrefix(d.Name, docConsumerPrefix)}
		if err := parseDoc(d, &one.doc); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// The shapes of consumers in answers.
type (
	consumerShape struct {
		ConsumerARN               string
		ConsumerCreationTimestamp codec.Time
		ConsumerName              string
		ConsumerStatus            string
	}
	consumerDescription struct {
		ConsumerARN               string
		ConsumerCreationTimestamp codec.Time
		ConsumerName              string
		ConsumerStatus            string
		StreamARN                 string
	}
)

// consumerActive is the only status that a consumer has here: it is made, and gone, in one step.
const consumerActive = "ACTIVE"

func (s *Server) consumerShapeOf(stream string, c *consumer) consumerShape {
	return consumerShape{
		ConsumerARN: s.consumerARN(stream, c.name, c.doc.Created/1000), ConsumerCreationTimestamp: codec.Time(c.doc.Created),
		ConsumerName: c.name, ConsumerStatus: consumerActive,
	}
}

// compareConsumers orders consumers by name.
func compareConsumers(a consumer, name string) int { return strings.Compare(a.name, name) }

// after returns the consumers that come after a name.
func after(all []consumer, name string) []consumer {
	at, found := slices.BinarySearchFunc(all, name, compareConsumers)
	if found {
		at++
	}
	return all[at:]
}
