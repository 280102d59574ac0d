package kinesis

import "context"

// startStreamEncryption is refused: the cluster does not encrypt at rest, and says so by the error that the API has for keys that cannot be used.
func startStreamEncryption(ctx context.Context, s *Server, c *call, in *encryptionInput) (*nothing, error) {
	if err := s.checkEncryption(ctx, c, in); err != nil {
		return nil, err
	}
	return nil, fail(codeKeyNotFound, "The key %s cannot be used: this cluster does not encrypt streams at rest, and has no keys.", *in.KeyId)
}
