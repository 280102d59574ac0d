package meta

import (
	"cmp"
	"slices"
)

// StepKind is one change of a Raft membership.
type StepKind string

// The steps of a reconciliation.
const (
	// StepNone: nothing to do now. Either the membership is as desired or a
	// learner has to catch up first.
	StepNone StepKind = "none"
	// StepAddLearner adds Node as a non-voter.
	StepAddLearner StepKind = "add_learner"
	// StepPromote makes the learner Node a voter.
	StepPromote StepKind = "promote"
	// StepRemove takes Node out.
	StepRemove StepKind = "remove"
	// StepTransfer hands the leadership to Node, because the leader is to go and
	// cannot take itself out.
	StepTransfer StepKind = "transfer"
)

// Step is the next change, for one Node.
type Step struct {
	Kind StepKind
	Node NodeID
}

// PromoteLagMax is how many log entries a learner may be behind to be promoted.
const PromoteLagMax = 64

// ReconcileMembership returns the next step from a group's committed membership
// to the desired one, for the leader self to take. Call it again after each step.
//
// Newcomers come in one at a time, as learners first; a voter that can be
// reached leaves only when every desired replica is a voter, so the group never
// has fewer living voters than the smaller of what it had and what is desired.
// A voter nobody wants that cannot be reached leaves as soon as a learner is
// ready to take its place, and before that one votes: if the learner voted
// first, the lost voter would still count towards the majority, and losing the
// newcomer too would leave the group without one. Learners nobody wants leave
// at once. Of the voters to leave, the one furthest behind goes first.
func ReconcileMembership(self NodeID, desired []NodeID, actual []Member) Step {
	if len(desired) == 0 {
		return Step{Kind: StepNone}
	}
	var missing []NodeID
	var extra []Member
	var learner *Member
	for i, m := range actual {
		switch wanted := slices.Contains(desired, m.Node); {
		case !wanted && !m.Voter:
			return Step{StepRemove, m.Node}
		case !wanted:
			extra = append(extra, m)
		case !m.Voter && (learner == nil || m.Lag < learner.Lag):
			learner = &actual[i]
		}
	}
	if learner != nil {
		if learner.Lag <= PromoteLagMax {
			for _, m := range extra {
				if m.Lag == LagUnknown && m.Node != self {
					return Step{StepRemove, m.Node}
				}
			}
			return Step{StepPromote, learner.Node}
		}
		return Step{Kind: StepNone}
	}
	for _, id := range desired {
		if !slices.ContainsFunc(actual, func(m Member) bool { return m.Node == id }) {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return Step{StepAddLearner, missing[0]}
	}
	return leave(self, desired, actual, extra)
}

// leave returns the step that takes out one voter of extra.
func leave(self NodeID, desired []NodeID, actual, extra []Member) Step {
	if len(extra) == 0 {
		return Step{Kind: StepNone}
	}
	slices.SortFunc(extra, func(a, b Member) int {
		return cmp.Or(cmp.Compare(b.Lag, a.Lag), cmp.Compare(a.Node, b.Node))
	})
	for _, m := range extra {
		if m.Node != self {
			return Step{StepRemove, m.Node}
		}
	}
	// Only the leader is left to go: to the desired voter that is closest behind it.
	var heir *Member
	for i, m := range actual {
		if slices.Contains(desired, m.Node) && (heir == nil || m.Lag < heir.Lag) {
			heir = &actual[i]
		}
	}
	return Step{StepTransfer, heir.Node}
}
