package kinesis

import "context"

// stopStreamEncryption finds nothing to stop: no stream is encrypted. That is an error, as it is for a stream of the original service that is not.
func stopStreamEncryption(ctx context.Context, s *Server, c *call, in *encryptionInput) (*nothing, error) {
	if err := s.checkEncryption(ctx, c, in); err != nil {
		return nil, err
	}
	return nil, fail(codeInvalidArgument, "Stream %s under account %s is not encrypted.", c.stream, s.opts.Account)
}
