package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/levada-stream/levada/client"
)

// parsePosition reads where a read begins, in the form that --from documents.
func parsePosition(text string) (client.Position, error) {
	kind, value, _ := strings.Cut(text, ":")
	switch kind {
	case "trim-horizon", "latest":
		if value != "" {
			break
		}
		if kind == "latest" {
			return client.Latest(), nil
		}
		return client.TrimHorizon(), nil
	case "at", "after":
		n, err := client.ParseSequence(value)
		if err != nil {
			return client.Position{}, usagef("--from %s: %w", text, err)
		}
		if kind == "at" {
			return client.AtSequence(n), nil
		}
		return client.AfterSequence(n), nil
	case "time":
		t, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return client.Position{}, usagef("--from %s: a time looks like 2026-11-23T06:30:00Z", text)
		}
		return client.AtTime(t), nil
	case "ordinal":
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return client.Position{}, usagef("--from %s: an ordinal is a number from 0", text)
		}
		return client.AtOrdinal(n), nil
	}
	return client.Position{}, usagef("--from %s: must be trim-horizon, latest, at:SEQ, after:SEQ, time:RFC3339 or ordinal:N", text)
}
