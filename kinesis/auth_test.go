package kinesis

import (
	"strings"
	"testing"
	"time"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "abc", true},
		{"a", "a", true},
		{"a", "b", false},
		{"a*", "a", true},
		{"a*", "abc", true},
		{"*c", "abc", true},
		{"a*c", "abc", true},
		{"a*c", "ab", false},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "acb", false},
		{"?", "a", true},
		{"?", "", false},
		{"a?c", "abc", true},
		{"**", "x", true},
		{"Get*", "GetRecords", true},
		{"Get*", "PutRecord", false},
		{"orders-*", "orders", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q fits %q: %v", c.text, c.pattern, got)
		}
	}
	began := time.Now()
	if matches(strings.Repeat("a*", 500)+"b", strings.Repeat("a", 5000)) {
		t.Error("no b is there")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a hostile pattern took %v", took)
	}
}

func TestPermits(t *testing.T) {
	k := Key{Allow: []Permission{{Actions: []string{"kinesis:Put*", "DescribeStream"}, Streams: []string{"orders", "log-*"}}, {Actions: []string{"List*"}, Streams: []string{"*"}}}}
	for _, c := range []struct {
		action, stream string
		want           bool
	}{
		{"PutRecord", "orders", true},
		{"PutRecords", "log-1", true},
		{"PutRecord", "order", false},
		{"GetRecords", "orders", false},
		{"DescribeStream", "orders", true},
		{"DescribeStreamSummary", "orders", false},
		{"ListStreams", "", true},
		{"PutRecord", "", false},
		{"ListShards", "anything", true},
	} {
		if got := k.permits(c.action, c.stream); got != c.want {
			t.Errorf("%s on %q: %v", c.action, c.stream, got)
		}
	}
	if (Key{}).permits("ListStreams", "") {
		t.Error("a key without permissions may do something")
	}
}

const testARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"

func TestPolicies(t *testing.T) {
	text := `{"Version":"2012-10-17","Statement":[
		{"Sid":"read","Effect":"Allow","Principal":{"AWS":["111111111111","arn:aws:iam::222222222222:user/bob"]},"Action":["kinesis:Get*","kinesis:DescribeStream"],"Resource":"` + testARN + `"},
		{"Effect":"Deny","Principal":"*","Action":"kinesis:DeleteStream","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::333333333333:root"},"Action":"kinesis:*","Resource":"arn:aws:kinesis:*:*:stream/orders"}]}`
	p, err := parsePolicy(text, testARN)
	if err != nil {
		t.Fatal(err)
	}
	who := func(account, name string) caller { return caller{key: Key{Account: account, Name: name}} }
	for _, c := range []struct {
		who    caller
		action string
		want   policyVerdict
	}{
		{who("111111111111", "amy"), "GetRecords", policyAllows},
		{who("111111111111", "amy"), "PutRecord", policySilent},
		{who("222222222222", "bob"), "DescribeStream", policyAllows},
		{who("222222222222", "eve"), "GetRecords", policySilent},
		{who("333333333333", "x"), "PutRecord", policyAllows},
		{who("333333333333", "x"), "DeleteStream", policyDenies},
		{who("000000000000", "own"), "DeleteStream", policyDenies},
		{who("000000000000", "own"), "GetRecords", policySilent},
	} {
		if got := p.judge(c.who, c.action); got != c.want {
			t.Errorf("%s %s: %v, want %v", c.who.principal(), c.action, got, c.want)
		}
	}
	if (*policy)(nil).judge(who("1", "x"), "GetRecords") != policySilent {
		t.Error("no policy says something")
	}
}

func TestPoliciesThatCannotBeEnforcedAreRefused(t *testing.T) {
	sound := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kinesis:GetRecords","Resource":"*"}]}`
	if _, err := parsePolicy(sound, testARN); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{`"Effect"`, `"Condition":{},"Effect"`},
		{`"Action":`, `"NotAction":`},
		{`"Principal":"*"`, `"NotPrincipal":"*"`},
		{`"Principal":"*"`, `"Principal":{"Service":"x"}`},
		{`"Principal":"*"`, `"Principal":"me"`},
		{`"Resource":"*"`, `"Resource":"arn:aws:kinesis:us-east-1:000000000000:stream/other"`},
		{`"Allow"`, `"Perhaps"`},
		{`2012-10-17`, `2020-01-01`},
		{`"Action":"kinesis:GetRecords",`, ``},
		{`"Resource":"*"`, `"Resource":"*","Resource2":"*"`},
		{`[{`, `[],"X":[{`},
		{sound, `{}`},
		{sound, ``},
		{sound, sound + sound},
		{sound, `[]`},
		{`"kinesis:GetRecords"`, `7`},
	} {
		text := strings.Replace(sound, c[0], c[1], 1)
		if text == sound {
			t.Fatalf("nothing was changed by %q", c)
		}
		if _, err := parsePolicy(text, testARN); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
