package meta

import (
	"fmt"
	"slices"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// SetScaling sets the scaling policy of a stream. Idempotent.
type SetScaling struct {
	StreamID uint64  `json:"stream_id"`
	Scaling  Scaling `json:"scaling"` // complete; see CompleteScaling
	Reason   string  `json:"reason,omitempty"`
	Time     int64   `json:"time"`
}

// Type returns "set_scaling".
func (SetScaling) Type() string { return "set_scaling" }

func (c SetScaling) apply(t *txn) (any, error) {
	st, err := t.liveStream(c.StreamID)
	if err != nil {
		return nil, err
	}
	if err := c.Scaling.Validate(); err != nil {
		return nil, err
	}
	if err := checkText("reason", c.Reason); err != nil {
		return nil, err
	}
	if st.scaling != nil && *st.scaling == c.Scaling {
		return StreamResult{Version: t.next.version, StreamID: st.ID}, nil
	}
	st = t.stream(st.ID)
	policy := c.Scaling
	st.scaling = &policy
	reason := fmt.Sprintf("mode %s", policy.Mode)
	if c.Reason != "" {
		reason += ": " + c.Reason
	}
	t.addScaling(ScalingEvent{StreamID: st.ID, Time: c.Time, Kind: ScalingPolicy, Reason: reason})
	return StreamResult{t.next.version, st.ID, true}, nil
}

// LogScaling adds an event to the history; Number is chosen by the state machine. The same again right after it is passed over.
type LogScaling struct {
	Event ScalingEvent `json:"event"`
}

// Type returns "log_scaling".
func (LogScaling) Type() string { return "log_scaling" }

func (c LogScaling) apply(t *txn) (any, error) {
	st, err := t.liveStream(c.Event.StreamID)
	if err != nil {
		return nil, err
	}
	if !c.Event.Kind.valid() {
		return nil, fault.InvalidField("kind", "%q is no kind of scaling event", string(c.Event.Kind))
	}
	if len(c.Event.Shards) > ReshardChildMax {
		return nil, limitError("shards", ReshardChildMax, "a scaling event is about %d shards at most, not %d", ReshardChildMax, len(c.Event.Shards))
	}
	if err := checkLongText("reason", c.Event.Reason, ScalingReasonBytesMax); err != nil {
		return nil, err
	}
	if err := checkText("reshard", c.Event.Reshard); err != nil {
		return nil, err
	}
	if err := checkText("key", c.Event.Key); err != nil {
		return nil, err
	}
	for last := range t.next.RecentScaling(0) {
		if last.same(&c.Event) {
			return StreamResult{Version: t.next.version, StreamID: st.ID}, nil
		}
		break
	}
	t.addScaling(c.Event)
	return StreamResult{t.next.version, st.ID, true}, nil
}

// SaltKey spreads the records of one hash key over Parts others from now on, or with 0 no longer. Idempotent.
type SaltKey struct {
	StreamID uint64      `json:"stream_id"`
	Key      hashkey.Key `json:"key"` // decimal
	Parts    int         `json:"parts"`
	Reason   string      `json:"reason,omitempty"`
	Time     int64       `json:"time"`
}

// Type returns "salt_key".
func (SaltKey) Type() string { return "salt_key" }

func (c SaltKey) apply(t *txn) (any, error) {
	st, err := t.liveStream(c.StreamID)
	if err != nil {
		return nil, err
	}
	if err := checkLongText("reason", c.Reason, ScalingReasonBytesMax); err != nil {
		return nil, err
	}
	if c.Parts == 1 || c.Parts < 0 || c.Parts > SaltPartsMax {
		return nil, limitError("parts", SaltPartsMax, "parts must be 0 or 2 to %d, not %d", SaltPartsMax, c.Parts)
	}
	if c.Parts > 0 && (st.scaling == nil || st.scaling.SaltParts == 0) {
		return nil, fault.New(fault.Conflict, "stream %q does not permit its keys to be salted (salt_parts)", st.Name)
	}
	at, found := slices.BinarySearchFunc(st.salted, c.Key, func(s SaltedKey, k hashkey.Key) int { return s.Key.Compare(k) })
	switch {
	case found && st.salted[at].Parts == c.Parts, !found && c.Parts == 0:
		return StreamResult{Version: t.next.version, StreamID: st.ID}, nil
	case !found && len(st.salted) >= SaltedKeysMax:
		return nil, fault.LimitField("salted_keys", SaltedKeysMax, "stream %q has %d salted keys and may have no more", st.Name, len(st.salted))
	}
	st = t.stream(st.ID)
	salted := slices.Clone(st.salted)
	if found {
		salted = slices.Delete(salted, at, at+1)
	}
	if c.Parts > 0 {
		salted = slices.Insert(salted, at, SaltedKey{Key: c.Key, Parts: c.Parts, Since: c.Time})
	}
	if st.salted = salted; len(salted) == 0 {
		st.salted = nil
	}
	reason := fmt.Sprintf("spread over %d hash keys", c.Parts)
	if c.Parts == 0 {
		reason = "no longer spread"
	}
	if c.Reason != "" {
		reason += ": " + c.Reason
	}
	t.addScaling(ScalingEvent{StreamID: st.ID, Time: c.Time, Kind: ScalingSalted, Key: c.Key.String(), Reason: reason})
	return StreamResult{t.next.version, st.ID, true}, nil
}
