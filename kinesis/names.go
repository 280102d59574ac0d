package kinesis

import (
	"fmt"
	"strconv"
	"strings"
)

// streamRef names a stream in a request: by its name, its ARN, or both. A StreamId may stand beside it and is not looked at: the
// API reserves it, and a client that is given one turns away from the endpoint it was told to use.
type streamRef struct {
	StreamName *string `is:"len=1:128;match=streamName"`
	StreamARN  *string `is:"len=1:2048;match=streamARN"`
	StreamId   *string `is:"len=1:24"`
}

func (r *streamRef) locate(s *Server) (string, error) { return s.resolve(r) }

// arn is an Amazon Resource Name of the service.
type arn struct {
	partition, region, account string
	resource                   string // what follows the account
}

func parseARN(text string) (arn, bool) {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kinesis" {
		return arn{}, false
	}
	return arn{partition: parts[1], region: parts[3], account: parts[4], resource: parts[5]}, true
}

// stream returns the stream that the ARN names, and the consumer of it with the time at which that was made, if it names one.
func (a arn) stream() (stream, consumer string, created int64, ok bool) {
	parts := strings.Split(a.resource, "/")
	switch {
	case len(parts) == 2 && parts[0] == "stream":
		return parts[1], "", 0, true
	case len(parts) == 4 && parts[0] == "stream" && parts[2] == "consumer":
		name, at, found := strings.Cut(parts[3], ":")
		created, err := strconv.ParseInt(at, 10, 64)
		return parts[1], name, created, found && err == nil
	}
	return "", "", 0, false
}

// streamARN returns the ARN of a stream of this cluster.
func (s *Server) streamARN(name string) string {
	return "arn:aws:kinesis:" + s.opts.Region + ":" + s.opts.Account + ":stream/" + name
}

// consumerARN returns the ARN of a consumer, which ends with the second in which it was registered.
func (s *Server) consumerARN(stream, consumer string, createdSeconds int64) string {
	return fmt.Sprintf("%s/consumer/%s:%d", s.streamARN(stream), consumer, createdSeconds)
}

func (s *Server) channelARN(name, id string) string {
	return "arn:aws:kinesis:" + s.opts.Region + ":" + s.opts.Account + ":channel/" + name + "/" + id
}

// resolve returns the name of the stream that a request is about.
func (s *Server) resolve(r *streamRef) (string, error) {
	switch {
	case r.StreamARN != nil:
		a, ok := parseARN(*r.StreamARN)
		name, consumer, _, isStream := a.stream()
		if !ok || !isStream || consumer != "" {
			return "", fail(codeInvalidArgument, "The stream ARN %s is not valid.", *r.StreamARN)
		}
		if r.StreamName != nil && *r.StreamName != name {
			return "", fail(codeInvalidArgument, "StreamARN and StreamName name different streams, %s and %s.", name, *r.StreamName)
		}
		if a.account != s.opts.Account || a.region != s.opts.Region {
			return "", fail(codeResourceNotFound, "Stream %s under account %s not found.", name, a.account)
		}
		return name, nil
	case r.StreamName != nil:
		return *r.StreamName, nil
	}
	return "", fail(codeInvalidArgument, "Either StreamARN or StreamName must be given.")
}

// noStream is the error for a stream that does not exist.
func (s *Server) noStream(name string) *apiError {
	return fail(codeResourceNotFound, "Stream %s under account %s not found.", name, s.opts.Account)
}

// noShard is the error for a shard that a stream does not have.
func (s *Server) noShard(stream, shard string) *apiError {
	return fail(codeResourceNotFound, "Could not find shard %s in stream %s under account %s.", shard, stream, s.opts.Account)
}

const shardPrefix = "shardId-"

// shardID returns a shard's name.
func shardID(number uint32) string { return fmt.Sprintf("%s%012d", shardPrefix, number) }

// parseShardID reads a shard's name, in full or without its zeros or its prefix, as the original service does.
func parseShardID(text string) (uint32, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, shardPrefix), 10, 32)
	return uint32(n), err == nil
}
