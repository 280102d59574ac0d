package kinesis

import "context"

type updateAccountSettingsInput struct {
	general
	MinimumThroughputBillingCommitment *commitmentInput `is:"required"`
}

type commitmentInput struct {
	Status *string `is:"required;enum=commitment"`
}

// updateAccountSettings changes the account's settings. A commitment lasts a day at least.
func updateAccountSettings(ctx context.Context, s *Server, _ *call, in *updateAccountSettingsInput) (*accountSettingsOutput, error) {
	now := s.opts.Now()
	doc, err := changeDoc(ctx, s, "", docAccount, func(doc *accountDoc, _ bool) error {
		switch wanted := *in.MinimumThroughputBillingCommitment.Status; {
		case wanted == doc.Commitment, wanted == commitmentOff && doc.Commitment == "":
		case wanted == commitmentOn && doc.CommitmentUntil > now.UnixMilli(): // it had not ended
			doc.Commitment, doc.CommitmentUntil = commitmentOn, 0
		case wanted == commitmentOn:
			*doc = accountDoc{Commitment: commitmentOn, CommitmentSince: now.UnixMilli()}
		default:
			doc.Commitment = ""
			doc.CommitmentUntil = max(now.UnixMilli(), doc.CommitmentSince+commitmentMinimum.Milliseconds())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return doc.shape(now), nil
}
