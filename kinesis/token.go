package kinesis

import (
	"encoding/base64"
	"encoding/json"
	"time"
)

// nextToken is what a NextToken of a listing stands for. It is written as JSON in base64 for URLs; clients pass it on as it is.
type nextToken struct {
	Of     string `json:"of"`           // the operation whose listing it continues
	Stream string `json:"s,omitempty"`  // name of the stream that is listed
	ID     uint64 `json:"id,omitempty"` // of that stream
	After  string `json:"a"`            // the last one listed
	Filter string `json:"f,omitempty"`  // of shards: the filter, kept across pages
	At     int64  `json:"t,omitempty"`  // of the filter
	Issued int64  `json:"i"`            // unix ms
}

// tokenLife is how long a token may be used.
const tokenLife = 300 * time.Second

func (t nextToken) String() string {
	data, err := json.Marshal(t)
	if err != nil {
		return "" // texts and numbers can always be written
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// parseToken reads a token of an operation.
func parseToken(text, operation string, now time.Time) (nextToken, error) {
	var t nextToken
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err != nil || t.Of != operation {
		return t, fail(codeInvalidArgument, "The NextToken is not valid.")
	}
	if now.Sub(time.UnixMilli(t.Issued)) > tokenLife {
		return t, fail(codeExpiredToken, "The NextToken is older than %d seconds.", int(tokenLife.Seconds()))
	}
	return t, nil
}
