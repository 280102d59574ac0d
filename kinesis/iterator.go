package kinesis

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"time"
)

// iterator is the place in a shard that a ShardIterator stands for. Any node reads what another has written.
//
//	offset  bytes
//	0       1      version, 1
//	1       8      ordinal of the next record, big-endian as all numbers are
//	9       8      when it was issued, in unix ns, so that no two are equal
//	17      8      id of the stream, which tells it from another of the same name
//	25      4      number of the shard
//	29      ..     name of the stream
//	..      4      CRC32 (IEEE) of all before
//
// It is written in base64 for URLs, without padding. It gives nobody a right: who uses it must be allowed to read the stream.
type iterator struct {
	ordinal  uint64
	issued   time.Time
	streamID uint64
	shard    uint32
	stream   string
}

const (
	iteratorVersion = 1
	iteratorFixed   = 29
	// iteratorLife is how long an iterator may be used.
	iteratorLife = 5 * time.Minute
)

// String returns the iterator as clients get it.
func (it iterator) String() string {
	b := make([]byte, 0, iteratorFixed+len(it.stream)+crc32.Size)
	b = append(b, iteratorVersion)
	b = binary.BigEndian.AppendUint64(b, it.ordinal)
	b = binary.BigEndian.AppendUint64(b, uint64(it.issued.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, it.streamID)
	b = binary.BigEndian.AppendUint32(b, it.shard)
	b = append(b, it.stream...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// errIterator is the error for a text that is no iterator.
func errIterator() *apiError { return fail(codeInvalidArgument, "Invalid ShardIterator.") }

// parseIterator reads an iterator. Quotes around it, which some shells leave, are passed over, as the original service does.
func parseIterator(text string) (iterator, error) {
	if len(text) >= 2 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) {
		text = text[1 : len(text)-1]
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < iteratorFixed+1+crc32.Size || b[0] != iteratorVersion {
		return iterator{}, errIterator()
	}
	rest, sum := b[:len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if crc32.ChecksumIEEE(rest) != binary.BigEndian.Uint32(sum) {
		return iterator{}, errIterator()
	}
	return iterator{
		ordinal: binary.BigEndian.Uint64(b[1:]), issued: time.Unix(0, int64(binary.BigEndian.Uint64(b[9:]))),
		streamID: binary.BigEndian.Uint64(b[17:]), shard: binary.BigEndian.Uint32(b[25:]), stream: string(rest[iteratorFixed:]),
	}, nil
}

// iteratorTimeLayout is how the original service writes times in its messages.
const iteratorTimeLayout = "Mon Jan 02 15:04:05 MST 2006"

// checkAge refuses an iterator that is too old to be used.
func (it iterator) checkAge(now time.Time) error {
	age := now.Sub(it.issued)
	if age <= iteratorLife {
		return nil
	}
	return fail(codeExpiredIterator, "Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
		it.issued.UTC().Format(iteratorTimeLayout), now.UTC().Format(iteratorTimeLayout), iteratorLife.Milliseconds())
}
