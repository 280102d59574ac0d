package kinesis

import "context"

type describeAccountSettingsInput struct{ general }

// describeAccountSettings describes the account's settings.
func describeAccountSettings(ctx context.Context, s *Server, _ *call, _ *describeAccountSettingsInput) (*accountSettingsOutput, error) {
	doc, _, err := readDoc[accountDoc](ctx, s, "", docAccount)
	if err != nil {
		return nil, err
	}
	return doc.shape(s.opts.Now()), nil
}
