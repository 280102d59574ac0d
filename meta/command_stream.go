package meta

import (
	"slices"

	"github.com/levada-stream/levada/internal/fault"
)

// UpdateStream changes policies of a live stream; nil leaves one as it is.
type UpdateStream struct {
	Name               string `json:"name"`
	StreamID           uint64 `json:"stream_id,omitempty"` // if not 0, the stream of that name must have this id
	RetentionSeconds   *int64 `json:"retention_seconds,omitempty"`
	RetentionBytes     *int64 `json:"retention_bytes,omitempty"`
	MaxRecordBytes     *int64 `json:"max_record_bytes,omitempty"`
	DedupWindowSeconds *int64 `json:"dedup_window_seconds,omitempty"`
	RecordsLimit       *int64 `json:"records_limit,omitempty"`
	BytesLimit         *int64 `json:"bytes_limit,omitempty"`
	Time               int64  `json:"time"`
}

// Type returns "update_stream".
func (UpdateStream) Type() string { return "update_stream" }

func (c UpdateStream) apply(t *txn) (any, error) {
	st, err := t.findStream(c.Name, c.StreamID)
	if err != nil {
		return nil, err
	}
	settings := st.Settings
	for _, f := range []struct{ from, to *int64 }{
		{c.RetentionSeconds, &settings.RetentionSeconds},
		{c.RetentionBytes, &settings.RetentionBytes},
		{c.MaxRecordBytes, &settings.MaxRecordBytes},
		{c.DedupWindowSeconds, &settings.DedupWindowSeconds},
		{c.RecordsLimit, &settings.RecordsLimit},
		{c.BytesLimit, &settings.BytesLimit},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	if settings.DedupWindowSeconds != st.Settings.DedupWindowSeconds {
		// Replicas apply entries by the window that they started with: one that starts without a
		// snapshot after a change would decide the same entries differently.
		return nil, fault.InvalidField("dedup_window_seconds", "dedup_window_seconds cannot be changed once the stream exists")
	}
	changed := settings != st.Settings
	if changed {
		t.stream(st.ID).Settings = settings
		t.events.Streams = append(t.events.Streams, st.ID)
	}
	return StreamResult{t.next.version, st.ID, changed}, nil
}

// DeleteStream deletes a stream and, by and by on every node, its data. The name
// is free at once. Deleting again is NotFound, except by StreamID.
//
// The stream leaves a tombstone. Beyond TombstonesMax of them those of the
// streams that were deleted first go; that their groups were deleted stays known.
type DeleteStream struct {
	Name          string `json:"name"`
	StreamID      uint64 `json:"stream_id,omitempty"`      // if not 0, the stream of that name must have this id
	TombstonesMax int    `json:"tombstones_max,omitempty"` // tombstones that stay, 0 for all; version 2
	Time          int64  `json:"time"`
}

// Type returns "delete_stream".
func (DeleteStream) Type() string { return "delete_stream" }

func (c DeleteStream) version() int { return versionIf(c.TombstonesMax != 0) }

func (c DeleteStream) apply(t *txn) (any, error) {
	if err := checkRange("tombstones_max", int64(c.TombstonesMax), 0, TombstonesMax); err != nil {
		return nil, err
	}
	if dead := t.next.deleted.get(c.StreamID); dead != nil && dead.Name == c.Name || t.next.streamForgotten(c.StreamID) {
		return StreamResult{Version: t.next.version, StreamID: c.StreamID}, nil
	}
	st, err := t.findStream(c.Name, c.StreamID)
	if err != nil {
		return nil, err
	}
	for _, g := range st.groups {
		for i := range g.Count {
			t.events.Groups = append(t.events.Groups, g.First+i)
		}
	}
	for r := range t.next.ActiveReshards() {
		if r.StreamID == st.ID {
			t.abort(r, "the stream was deleted", c.Time)
		}
	}
	st = t.next.streams.get(st.ID)
	for sh := range st.Shards() {
		t.count(sh, -1)
	}
	t.events.Streams = append(t.events.Streams, st.ID)
	at, _ := t.next.nameIndex(c.Name)
	t.next.names = slices.Delete(slices.Clone(t.next.names), at, at+1)
	t.next.streams.remove(t.edit, st.ID)
	t.next.documentBytes -= st.documents.bytes()
	t.next.deleted.set(t.edit, st.ID, &Stream{
		ID: st.ID, Name: st.Name, Settings: st.Settings, State: StreamDeleting,
		Created: st.Created, Deleted: c.Time, next: st.next, groups: st.groups,
	})
	if c.TombstonesMax > 0 {
		t.forgetTombstones(c.TombstonesMax)
	}
	return StreamResult{t.next.version, st.ID, true}, nil
}

// findStream returns the live stream of that name, and of that id if id is not 0.
func (t *txn) findStream(name string, id uint64) (*Stream, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	if err := checkName("name", name); err != nil {
		return nil, err
	}
	st, ok := t.next.StreamByName(name)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no stream %q", name)
	}
	if id != 0 && st.ID != id {
		return nil, fault.New(fault.Conflict, "stream %q has id %d now, not %d: it was deleted and created again", name, st.ID, id)
	}
	return st, nil
}
