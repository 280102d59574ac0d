package kinesis

import "context"

// encryptionInput is the input of both operations about encryption at rest.
type encryptionInput struct {
	streamRef
	EncryptionType *string `is:"required;enum=encryptionType"`
	KeyId          *string `is:"required;len=1:2048"`
}

// encryptionNone is the encryption of all streams.
const encryptionNone = "NONE"

// checkEncryption holds an input against what its constraints do not say.
func (s *Server) checkEncryption(ctx context.Context, c *call, in *encryptionInput) error {
	if _, err := s.ask(ctx, c.stream); err != nil {
		return err
	}
	if *in.EncryptionType == encryptionNone {
		return fail(codeInvalidArgument, "EncryptionType must be KMS.")
	}
	return nil
}
