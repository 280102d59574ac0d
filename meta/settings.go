package meta

import (
	"github.com/levada-stream/levada/internal/fault"
)

// Limits of what a command may ask for. They are part of the meaning of the
// commands: a changed limit needs a new command version, or nodes of different
// releases would drift apart.
const (
	ShardsMax                   = 10_000 // of one stream
	NameCharsMax                = 128    // of streams, nodes and clusters
	RetentionSecondsMin         = 60 * 60
	RetentionSecondsMax         = 365 * 24 * 60 * 60
	RecordBytesMax              = 10 << 20
	DedupWindowSecondsMax       = 7 * 24 * 60 * 60
	ReplicasMax                 = 5
	DesiredReplicasMax          = 7 // of one shard while it moves
	DeadGraceSecondsMax         = 30 * 24 * 60 * 60
	RolesMax                    = 16
	LabelsMax                   = 64
	TextBytesMax                = 256 // of an address, zone, role, label, disk class or reason
	BatchMax                    = 100_000
	NodeReplicasMax             = 1 << 20 // shard replicas that a node may say it takes
	StreamsMax                  = 1 << 20 // streams that a command may allow
	TombstonesMax               = 1 << 20 // tombstones that a command may keep
	RateLimitMax          int64 = 1 << 40
)

// Defaults that WithDefaults and a new cluster take.
const (
	ReplicasDefault           = 3
	RetentionSecondsDefault   = 24 * 60 * 60
	RecordBytesDefault        = 1 << 20
	DedupWindowSecondsDefault = 15 * 60
	DeadGraceSecondsDefault   = 10 * 60
)

// Settings are the policies of a stream. CreateStream wants them complete: the
// proposer fills in defaults, so that a later change of a default changes no
// stream and no replay.
type Settings struct {
	Shards             int   `json:"shards"`
	Replicas           int   `json:"replicas"`             // 1, 3 or 5
	RetentionSeconds   int64 `json:"retention_seconds"`    // 1 hour to 365 days
	RetentionBytes     int64 `json:"retention_bytes"`      // per shard, 0 = no limit
	MaxRecordBytes     int64 `json:"max_record_bytes"`     // data of one record, up to 10 MiB
	DedupWindowSeconds int64 `json:"dedup_window_seconds"` // how long an idle producer is remembered
	RecordsLimit       int64 `json:"records_limit"`        // records per second and shard, 0 = no limit
	BytesLimit         int64 `json:"bytes_limit"`          // bytes per second and shard, 0 = no limit
}

// WithDefaults returns s with the documented defaults where a field is 0 that
// may not be 0.
func (s Settings) WithDefaults() Settings {
	if s.Shards == 0 {
		s.Shards = 1
	}
	if s.Replicas == 0 {
		s.Replicas = ReplicasDefault
	}
	if s.RetentionSeconds == 0 {
		s.RetentionSeconds = RetentionSecondsDefault
	}
	if s.MaxRecordBytes == 0 {
		s.MaxRecordBytes = RecordBytesDefault
	}
	if s.DedupWindowSeconds == 0 {
		s.DedupWindowSeconds = DedupWindowSecondsDefault
	}
	return s
}

// Validate returns an Invalid error that names the first field out of its limits.
func (s Settings) Validate() error {
	if s.Replicas != 1 && s.Replicas != 3 && s.Replicas != 5 {
		return limitError("replicas", ReplicasMax, "replicas must be 1, 3 or 5, not %d", s.Replicas)
	}
	for _, f := range []struct {
		name            string
		value, min, max int64
	}{
		{"shards", int64(s.Shards), 1, ShardsMax},
		{"retention_seconds", s.RetentionSeconds, RetentionSecondsMin, RetentionSecondsMax},
		{"retention_bytes", s.RetentionBytes, 0, 1 << 62},
		{"max_record_bytes", s.MaxRecordBytes, 1, RecordBytesMax},
		{"dedup_window_seconds", s.DedupWindowSeconds, 1, DedupWindowSecondsMax},
		{"records_limit", s.RecordsLimit, 0, RateLimitMax},
		{"bytes_limit", s.BytesLimit, 0, RateLimitMax},
	} {
		if err := checkRange(f.name, f.value, f.min, f.max); err != nil {
			return err
		}
	}
	return nil
}

func checkRange(field string, value, least, most int64) error {
	if value < least || value > most {
		return limitError(field, uint64(most), "%s must be between %d and %d, not %d", field, least, most, value)
	}
	return nil
}

func limitError(field string, limit uint64, format string, args ...any) error {
	e := fault.InvalidField(field, format, args...)
	e.Limit = limit
	return e
}

// checkName accepts what a stream, node or cluster may be called.
func checkName(field, name string) error {
	if len(name) == 0 || len(name) > NameCharsMax {
		return limitError(field, NameCharsMax, "%s must have 1 to %d characters, not %d", field, NameCharsMax, len(name))
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return fault.InvalidField(field, "%s may hold letters, digits, '_', '.' and '-' only", field)
		}
	}
	return nil
}

// checkText accepts printable UTF-8 of up to TextBytesMax; it may be empty.
func checkText(field, text string) error { return checkLongText(field, text, TextBytesMax) }

func checkLongText(field, text string, most int) error {
	if len(text) > most {
		return limitError(field, uint64(most), "%s may have %d bytes, not %d", field, most, len(text))
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return fault.InvalidField(field, "%s holds a character that is not printable", field)
		}
	}
	return nil
}

// StreamNamePattern is the regular expression of a stream's name, for messages and schemas.
const StreamNamePattern = `[a-zA-Z0-9_.-]{1,128}`
