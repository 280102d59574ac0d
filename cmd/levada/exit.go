package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/wal"
)

// The exit codes.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitNotFound  = 3
	exitUnhealthy = 10
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// unreachableError says that no node answered.
type unreachableError struct{ error }

func (u unreachableError) Unwrap() error { return u.error }

// errSilent ends a command as failed that has said itself what went wrong.
var errSilent = errors.New("failed")

// errUnhealthy ends a command that found the cluster unhealthy and showed why.
var errUnhealthy = errors.New("cluster is not healthy")

// report prints the error of a command, with what to do next, and returns the exit code.
func report(s *session, err error) int {
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errSilent) && !errors.Is(err, errUnhealthy) {
		text := "levada: " + err.Error()
		if hint := s.advice(err); hint != "" {
			text += "\n" + hint
		}
		s.warn("%s", text)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	var known *client.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errUnhealthy):
		return exitUnhealthy
	case !errors.As(err, &known):
		return exitFailed
	}
	switch known.Kind {
	case client.NotFound:
		return exitNotFound
	case client.Invalid, client.TooLarge:
		return exitUsage
	case client.Unavailable:
		return exitUnhealthy
	}
	return exitFailed
}

// advice returns what to do about an error, "" if there is nothing to add.
func (s *session) advice(err error) string {
	if errors.Is(err, wal.ErrCorrupt) {
		return "if the shard has other replicas: with the node stopped, move the directory aside; the node fetches the records from them when it starts"
	}
	var known *client.Error
	if !errors.As(err, &known) || strings.Contains(known.Message, "levada ") {
		return "" // unknown, or the cluster has said it already
	}
	switch known.Kind {
	case client.NotFound:
		return s.notFoundAdvice(known)
	case client.Conflict:
		if s.command == "stream create" {
			return "compare with: levada stream describe " + s.stream
		}
	case client.Unavailable:
		var lost unreachableError
		switch {
		case errors.As(err, &lost):
			return "is the cluster running? name its nodes with --endpoint or LEVADA_ENDPOINT, or start one with: levada dev; does it use TLS? then name the authority with --tls-ca"
		case s.command != "cluster status":
			return "look at the cluster with: levada cluster status"
		}
	case client.LimitReached:
		if strings.HasPrefix(s.command, "key ") {
			return "list the keys with: levada key list"
		}
		return "see what there is with: levada stream list, levada cluster nodes"
	case client.Throttled:
		return "the cluster is at its limit: write slower (--rate), or try again"
	case client.Denied:
		return "name the certificates to show with --tls-ca, --tls-cert and --tls-key"
	}
	return ""
}

func (s *session) notFoundAdvice(known *client.Error) string {
	switch {
	case strings.HasPrefix(s.command, "key "):
		return "list the keys with: levada key list"
	case s.command == "cluster remove-node":
		return "list the nodes with: levada cluster nodes"
	case strings.Contains(known.Message, "no shard ") && s.stream != "":
		return "list the shards with: levada shard list " + s.stream
	}
	return "list the streams with: levada stream list"
}
