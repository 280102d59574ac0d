package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The key, time and region of everything that AWS publishes about signatures.
const (
	vectorKeyID  = "AKIDEXAMPLE"
	vectorSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	vectorTime   = "20150830T123600Z"
	vectorToken  = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
)

// vector is a request of the AWS Signature Version 4 test suite with its signature. X-Amz-Date is vectorTime and is signed.
type vector struct {
	name          string
	method        string
	target        string // path and query
	header        [][2]string
	body          string
	signedHeaders string
	signature     string
}

var vectors = [...]vector{
	{"get-vanilla", "GET", "/", nil, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-relative", "GET", "/example/..", nil, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-relative-relative", "GET", "/example1/example2/../..", nil, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-slash", "GET", "//", nil, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-slash-dot-slash", "GET", "/./", nil, "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-slash-pointless-dot", "GET", "/./example", nil, "", "host;x-amz-date", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
	{"get-slashes", "GET", "//example//", nil, "", "host;x-amz-date", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
	{"get-space", "GET", "/example space/", nil, "", "host;x-amz-date", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
	{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", nil, "", "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{"get-utf8", "GET", "/ሴ", nil, "", "host;x-amz-date", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
	{"get-vanilla-empty-query-key", "GET", "/?Param1=value1", nil, "", "host;x-amz-date", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
	{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", nil, "", "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{"get-vanilla-query-order-encoded", "GET", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", nil, "", "host;x-amz-date", "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
	{
		"get-vanilla-query-unreserved", "GET",
		"/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
		nil, "", "host;x-amz-date", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
	},
	{"get-vanilla-utf8-query", "GET", "/?ሴ=bar", nil, "", "host;x-amz-date", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
	{
		"get-header-key-duplicate", "GET", "/",
		[][2]string{{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}},
		"", "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
	},
	{
		"get-header-value-order", "GET", "/",
		[][2]string{{"My-Header1", "value4"}, {"My-Header1", "value1"}, {"My-Header1", "value3"}, {"My-Header1", "value2"}},
		"", "host;my-header1;x-amz-date", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
	},
	{
		"get-header-value-trim", "GET", "/",
		[][2]string{{"My-Header1", " value1"}, {"My-Header2", ` "a   b   c"`}},
		"", "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
	},
	{
		"get-vanilla-with-session-token", "GET", "/",
		[][2]string{{"X-Amz-Security-Token", vectorToken}},
		"", "host;x-amz-date;x-amz-security-token", "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
	},
	{"post-vanilla", "POST", "/", nil, "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-vanilla-query", "POST", "/?Param1=value1", nil, "", "host;x-amz-date", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	{
		"post-header-key-sort", "POST", "/",
		[][2]string{{"My-Header1", "value1"}},
		"", "host;my-header1;x-amz-date", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
	},
	{
		"post-x-www-form-urlencoded", "POST", "/",
		[][2]string{{"Content-Type", "application/x-www-form-urlencoded"}},
		"Param1=value1", "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
	},
	{
		"post-x-www-form-urlencoded with length and hash", "POST", "/",
		[][2]string{
			{"Content-Type", "application/x-www-form-urlencoded"},
			{"X-Amz-Content-Sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"},
		},
		"Param1=value1", "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
		"d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
	},
}

// request returns the vector as a server gets it.
func (v vector) request() Request {
	path, query, _ := strings.Cut(v.target, "?")
	header := http.Header{"X-Amz-Date": {vectorTime}, "Authorization": {authorization(v.signedHeaders, v.signature)}}
	for _, h := range v.header {
		header.Add(h[0], h[1])
	}
	return Request{
		Method: v.method, Path: path, RawQuery: query, Host: "example.amazonaws.com", Header: header,
		BodyLength: int64(len(v.body)), BodyHash: sha256.Sum256([]byte(v.body)),
	}
}

// authorization is the header with which the vectors are signed.
func authorization(signedHeaders, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" + signedHeaders + ", Signature=" + signature
}

// clockAt returns a clock that stands still.
func clockAt(t testing.TB, timestamp string) func() time.Time {
	t.Helper()
	now, err := time.Parse(timeLayout, timestamp)
	if err != nil {
		t.Fatal(err)
	}
	return func() time.Time { return now }
}

// vectorVerifier verifies what is signed at the vectors' time.
func vectorVerifier(t testing.TB) *Verifier {
	return &Verifier{Region: "us-east-1", Service: "service", Now: clockAt(t, vectorTime)}
}

// check does what a server does with the only key it knows.
func check(v *Verifier, r Request, secret, token string) error {
	c, err := Parse(r)
	if err != nil {
		return err
	}
	return v.Verify(r, c, secret, token)
}

func TestPublishedVectorsVerify(t *testing.T) {
	verifier := vectorVerifier(t)
	for _, v := range vectors {
		r := v.request()
		token := r.Header.Get("X-Amz-Security-Token")
		if err := check(verifier, r, vectorSecret, token); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		if err := check(verifier, r, vectorSecret+"x", token); err == nil {
			t.Errorf("%s: accepted with another secret", v.name)
		}
	}
}

// The SDK for JavaScript signs the host of HTTP/2 by the name that it has there. The signature is what that SDK makes of this request.
func TestAuthorityIsTheHost(t *testing.T) {
	r := Request{
		Method: "POST", Path: "/", Host: "127.0.0.1:4567", BodyHash: sha256.Sum256([]byte("{}")),
		Header: http.Header{
			"X-Amz-Date": {vectorTime}, "X-Amz-Target": {"Kinesis_20131202.ListStreams"}, "Content-Type": {"application/x-amz-json-1.1"},
			"X-Amz-Content-Sha256": {"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
			"Authorization": {authorization(":authority;content-type;x-amz-content-sha256;x-amz-date;x-amz-target",
				"b2ed11462da1465ae689a96ccb4517567a751b04a8550c668e271788a3026c12")},
		},
	}
	if err := check(vectorVerifier(t), r, vectorSecret, ""); err != nil {
		t.Error(err)
	}
	r.Host = "127.0.0.1:4568"
	if err := check(vectorVerifier(t), r, vectorSecret, ""); err == nil {
		t.Error("accepted with another host")
	}
}

// presignedVector is a request of the suite that is signed in its query.
func presignedVector() Request {
	return Request{
		Method: "GET", Path: "/", Host: "example.amazonaws.com", Header: http.Header{}, BodyHash: sha256.Sum256(nil),
		RawQuery: "Param2=value2&Param1=value1&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
			"&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z" +
			"&X-Amz-SignedHeaders=host&X-Amz-Expires=3600" +
			"&X-Amz-Signature=86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5",
	}
}

func TestPublishedPresignedVectorsVerify(t *testing.T) {
	encoded := presignedVector()
	encoded.RawQuery = "Param-3=Value3&Param=Value2&%E1%88%B4=Value1&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z" +
		"&X-Amz-SignedHeaders=host&X-Amz-Expires=3600" +
		"&X-Amz-Signature=c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787"
	verifier := vectorVerifier(t)
	for name, r := range map[string]Request{
		"get-vanilla-query-order-key-case": presignedVector(), "get-vanilla-query-order-encoded": encoded,
	} {
		if err := check(verifier, r, vectorSecret, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The worked example of the AWS documentation, with what it says of each step.
func TestDocumentedExampleVerifies(t *testing.T) {
	r := Request{
		Method: "GET", Path: "/", RawQuery: "Action=ListUsers&Version=2010-05-08", Host: "iam.amazonaws.com",
		Header: http.Header{
			"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"},
			"X-Amz-Date":   {vectorTime},
			"Authorization": {"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
				"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
		},
		BodyHash: sha256.Sum256(nil),
	}
	c, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := appendCanonicalRequest(nil, &r, &c)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(canonical)
	if got, want := hex.EncodeToString(hash[:]), "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"; got != want {
		t.Errorf("the canonical request has the hash %s, want %s:\n%s", got, want, canonical)
	}
	key := deriveKey(keyName{vectorKeyID, "20150830", "us-east-1", "iam"}, vectorSecret)
	if got, want := hex.EncodeToString(key[:]), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"; got != want {
		t.Errorf("the signing key is %s, want %s", got, want)
	}
	if err := (&Verifier{Service: "iam", Now: clockAt(t, vectorTime)}).Verify(r, c, vectorSecret, ""); err != nil {
		t.Error(err)
	}
}
