package raftfsm

import "github.com/hashicorp/go-hclog"

// raftLogger turns the library's log down to what an operator of a thousand groups wants to
// read: its infos are debug, and its errors about peers that do not answer too, since the
// transport says that once per peer and the library once per group and attempt.
type raftLogger struct{ hclog.Logger }

func newRaftLogger(l hclog.Logger) hclog.Logger { return raftLogger{l.Named("raft")} }

// Info implements hclog.Logger.
func (l raftLogger) Info(msg string, args ...any) { l.Debug(msg, args...) }

// Warn implements hclog.Logger. The library warns of every election.
func (l raftLogger) Warn(msg string, args ...any) { l.Debug(msg, args...) }

// Error implements hclog.Logger.
func (l raftLogger) Error(msg string, args ...any) {
	switch msg {
	case "failed to heartbeat to", "failed to appendEntries to", "failed to make requestVote RPC",
		"failed to pipeline appendEntries", "failed to start pipeline replication to",
		"peer has newer term, stopping replication", "failed to install snapshot", "failed to send snapshot to",
		"failed to get log", "failed to take snapshot":
		l.Debug(msg, args...)
	default:
		l.Logger.Error(msg, args...)
	}
}

// With implements hclog.Logger.
func (l raftLogger) With(args ...any) hclog.Logger { return raftLogger{l.Logger.With(args...)} }

// Named implements hclog.Logger.
func (l raftLogger) Named(name string) hclog.Logger { return raftLogger{l.Logger.Named(name)} }
