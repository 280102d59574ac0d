package kinesis

import (
	"fmt"
	"strings"

	"github.com/levada-stream/levada/kinesis/codec"
)

// rules are the patterns and sets of values of the API, as its description has them.
func newRules() *codec.Rules {
	return codec.NewRules(map[string]string{
		"streamName":     `[a-zA-Z0-9_.-]+`,
		"streamARN":      `arn:aws.*:kinesis:.*:\d{12}:stream/\S+`,
		"consumerARN":    `arn:aws.*:kinesis:.*:\d{12}:stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+`,
		"resourceARN":    `arn:aws.*:kinesis:.*:\d{12}:(stream|channel)/\S+`,
		"shardId":        `[a-zA-Z0-9_.-]+`,
		"hashKey":        `0|([1-9]\d{0,38})`,
		"sequenceNumber": `0|([1-9]\d{0,128})`,
	}, map[string][]string{
		"encryptionType":    {"NONE", "KMS"},
		"channelEncryption": {"KMS"},
		"iteratorType":      {"AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"},
		"metricsName":       append(append([]string{}, shardMetrics...), "ALL"),
		"scalingType":       {"UNIFORM_SCALING"},
		"shardFilter":       {"AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"},
		"streamMode":        {modeProvisioned, modeOnDemand},
		"distribution":      {distributionAuto, distributionByKey},
		"commitment":        {"ENABLED", "DISABLED"},
		"recordFormat":      {"GSR_JSON", "JSON", "STRING", "BYTE_ARRAY"},
		"compression":       {"NONE", "GZIP", "ZSTD"},
		"parquet":           {"NONE", "ZSTD", "SNAPPY"},
		"storageClass":      {"STANDARD", "INTELLIGENT_TIERING", "GLACIER_IR"},
		"transform":         {"TIME_HOUR"},
	})
}

// validate answers what is wrong with an input as the original service words it, nil if nothing is.
func (s *Server) validate(in any) error { return violations(s.rules.Validate(in)) }

// violationsMax is how many of the things that are wrong are told.
const violationsMax = 10

func violations(found []string) error {
	found = found[:min(len(found), violationsMax)]
	switch len(found) {
	case 0:
		return nil
	case 1:
		return fail(codeValidation, "1 validation error detected: %s", found[0])
	}
	return fail(codeValidation, "%s", fmt.Sprintf("%d validation errors detected: %s", len(found), strings.Join(found, "; ")))
}
