package kinesis

import (
	"encoding/base64"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestSetsOfValuesAreTheModels holds the values that inputs may have against those of the AWS SDK.
func TestSetsOfValuesAreTheModels(t *testing.T) {
	texts := func(values ...string) map[string]bool {
		all := map[string]bool{}
		for _, v := range values {
			all[v] = true
		}
		return all
	}
	s := testServer()
	for _, c := range []struct {
		name  string
		model map[string]bool
		check func(value *string) error
	}{
		{"encryption", texts(of(types.EncryptionType("").Values())...), func(v *string) error {
			return s.validate(&struct {
				Value *string `is:"enum=encryptionType"`
			}{v})
		}},
		{"channel encryption", texts(of(types.ChannelEncryptionType("").Values())...), func(v *string) error {
			return s.validate(&struct {
				Value *string `is:"enum=channelEncryption"`
			}{v})
		}},
		{"record format", texts(of(types.RecordFormatType("").Values())...), func(v *string) error {
			return s.validate(&struct {
				Value *string `is:"enum=recordFormat"`
			}{v})
		}},
		{"compression", texts(of(types.S3CompressionType("").Values())...), func(v *string) error {
			return s.validate(&struct {
				Value *string `is:"enum=compression"`
			}{v})
		}},
		{"iterator", texts(of(types.ShardIteratorType("").Values())...), func(v *string) error {
			return s.validate(&struct {
				Value *string `is:"enum=iteratorType"`
			}{v})
		}},
		{"distribution", texts(of(types.RecordDistributionStrategy("").Values())...), func(v *string) error {
			return s.validate(&struct {
				Value *string `is:"enum=distribution"`
			}{v})
		}},
	} {
		for _, value := range []string{"NONE", "KMS", "JSON", "GSR_JSON", "STRING", "BYTE_ARRAY", "GZIP", "ZSTD", "SNAPPY", "LATEST", "AT_TIMESTAMP", "AUTO", "USER_PARTITION_KEY", "kms", ""} {
			if err := c.check(&value); (err == nil) != c.model[value] {
				t.Errorf("%s %q: %v, in the model: %v", c.name, value, err, c.model[value])
			}
		}
	}
}

func of[T ~string](values []T) (out []string) {
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

func TestExtendedIDs(t *testing.T) {
	a, b := newExtendedID(), newExtendedID()
	if raw, err := base64.StdEncoding.DecodeString(a); err != nil || len(raw) < 48 || a == b {
		t.Errorf("%q and %q: %v", a, b, err)
	}
}
