package kinesis

import "testing"

// TestTokenMayComeWithWhatItStandsFor repeats beside a token of ListShards what was asked for first, as paginators do.
func TestTokenMayComeWithWhatItStandsFor(t *testing.T) {
	s := testServer()
	text := func(v string) *string { return &v }
	token := nextToken{Of: "ListShards", Stream: "orders", Filter: "AT_LATEST", Issued: s.opts.Now().UnixMilli()}.String()
	named := func(name string) streamRef { return streamRef{StreamName: &name} }
	for what, c := range map[string]struct {
		in   listShardsInput
		code string
	}{
		"the token alone":             {listShardsInput{}, ""},
		"the stream's name":           {listShardsInput{streamRef: named("orders")}, ""},
		"its ARN":                     {listShardsInput{streamRef: streamRef{StreamARN: text(s.streamARN("orders"))}}, ""},
		"all of the request":          {listShardsInput{streamRef: named("orders"), ExclusiveStartShardId: text("0"), ShardFilter: &shardFilter{Type: text("AT_LATEST")}}, ""},
		"another stream":              {listShardsInput{streamRef: named("others")}, codeInvalidArgument},
		"the ARN of another stream":   {listShardsInput{streamRef: streamRef{StreamARN: text(s.streamARN("others"))}}, codeInvalidArgument},
		"another filter":              {listShardsInput{ShardFilter: &shardFilter{Type: text("AT_TRIM_HORIZON")}}, codeInvalidArgument},
		"a token that is another's":   {listShardsInput{NextToken: text(nextToken{Of: "ListStreams", Issued: s.opts.Now().UnixMilli()}.String())}, codeInvalidArgument},
		"a token that is long in use": {listShardsInput{NextToken: text(nextToken{Of: "ListShards", Stream: "orders", Issued: s.opts.Now().UnixMilli() - 301_000}.String())}, codeExpiredToken},
	} {
		if c.in.NextToken == nil {
			c.in.NextToken = &token
		}
		name, err := c.in.locate(s)
		code := ""
		if e, ok := err.(*apiError); ok {
			code = e.code
		}
		if code != c.code || (err == nil && name != "orders") {
			t.Errorf("%s: %q, %v", what, name, err)
		}
	}
}
