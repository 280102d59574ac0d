package kinesis

import (
	"time"

	"github.com/levada-stream/levada/kinesis/codec"
)

// commitmentShape is the account's promise to pay for a least throughput. Nothing here has a price: it is kept and told, as programs expect it to be.
type commitmentShape struct {
	EarliestAllowedEndAt *codec.Time
	EndedAt              *codec.Time
	StartedAt            *codec.Time
	Status               string
}

// accountSettingsOutput is the output of both operations about the account's settings.
type accountSettingsOutput struct {
	MinimumThroughputBillingCommitment commitmentShape
}

const (
	commitmentOn      = "ENABLED"
	commitmentOff     = "DISABLED"
	commitmentEnding  = "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
	commitmentMinimum = 24 * time.Hour
)

// shape describes the settings as they are at a time.
func (d *accountDoc) shape(now time.Time) *accountSettingsOutput {
	at := func(ms int64) *codec.Time {
		if ms == 0 {
			return nil
		}
		t := codec.Time(ms)
		return &t
	}
	out := commitmentShape{Status: commitmentOff}
	switch {
	case d.Commitment == commitmentOn:
		out = commitmentShape{Status: commitmentOn, StartedAt: at(d.CommitmentSince), EarliestAllowedEndAt: at(d.CommitmentSince + commitmentMinimum.Milliseconds())}
	case d.CommitmentUntil > now.UnixMilli():
		out = commitmentShape{Status: commitmentEnding, StartedAt: at(d.CommitmentSince), EarliestAllowedEndAt: at(d.CommitmentUntil)}
	case d.CommitmentUntil != 0:
		out.StartedAt, out.EndedAt = at(d.CommitmentSince), at(d.CommitmentUntil)
	}
	return &accountSettingsOutput{out}
}
