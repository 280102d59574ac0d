package kinesis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/kinesis/codec"
)

// readerOf reads a body of either format. What it returns may lie in memory of its own.
func readerOf(body []byte, inCBOR bool) codec.Reader {
	if inCBOR {
		return codec.NewCBOR(bytes.Clone(body))
	}
	return codec.NewJSON(bytes.Clone(body))
}

// addBodies adds the SDK's snapshots of requests whose operations do, in both formats.
func addBodies(f *testing.F, do func(operation string) bool, add func(operation string, body []byte, inCBOR bool)) {
	f.Helper()
	for name, s := range snapshots(f, "request_snapshot", ".request.snap") {
		if !do(name) {
			continue
		}
		add(name, s.body, false)
		w := codec.NewCBORWriter(nil)
		toCBOR(f, w, "", parse(f, s.body))
		add(name, w.Bytes(), true)
	}
}

// FuzzReadPut reads PutRecord and PutRecords by hand, as the server does, and by reflection, as it reads all others: both see the same.
func FuzzReadPut(f *testing.F) {
	addBodies(f, func(name string) bool { return strings.HasPrefix(name, "PutRecord") }, func(name string, body []byte, inCBOR bool) {
		f.Add(body, inCBOR, name == "PutRecord")
	})
	for _, s := range []string{
		`{"Records":[{"Data":"aGk=","PartitionKey":"a","ExplicitHashKey":"7"},null,{"PartitionKey":null,"X":[{}]}],"StreamName":"s","Records":null}`, `{"Records":[],"Records":[{}]}`,
		`{"Data":"","PartitionKey":"\u00e9\n","Data":null,"StreamARN":"a","SequenceNumberForOrdering":"0","DryRun":false}`, `{"Records":[{"Data":"Y"}]}`, `{"Records":{}}`, `{"DryRun":1}`,
		`{"Records":[` + strings.Repeat("{},", 501) + `{"Data":"YQ=="}]}`,
	} {
		f.Add([]byte(s), false, true)
		f.Add([]byte(s), false, false)
	}
	f.Fuzz(func(t *testing.T, body []byte, inCBOR, one bool) {
		s := shapes{name: "PutRecords"}
		var want any = new(struct {
			StreamName, StreamARN, StreamId, SequenceNumberForOrdering *string
			DryRun                                                     *bool
			Records                                                    []putEntryRead
		})
		if one {
			s.name = "PutRecord"
			want = new(struct {
				StreamName, StreamARN, StreamId, SequenceNumberForOrdering *string
				DryRun                                                     *bool
				Data                                                       []byte
				PartitionKey, ExplicitHashKey                              *string
			})
		}
		wantErr := codec.Decode(readerOf(body, inCBOR), want)
		read, err := decodeAs(s, readerOf(body, inCBOR))
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			if entries := read.(*putRead).Records; err == nil && len(entries) > putRecordsMax {
				return // what comes after is passed over, and not looked at
			}
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		if err != nil {
			return
		}
		got, expected := asMap(read), asMap(want)
		if expected["DryRun"] == false {
			delete(expected, "DryRun") // as good as none
		}
		if entries, ok := expected["Records"].([]any); ok {
			expected["Records"] = entries[:min(len(entries), putRecordsMax+1)]
			if len(entries) == 0 {
				delete(expected, "Records")
			}
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("by reflection and by hand:\n%s", diff)
		}
	})
}

// asMap returns what is set in a struct, lists of structs included.
func asMap(from any) map[string]any {
	all := map[string]any{}
	v := reflect.ValueOf(from).Elem()
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case field.IsNil():
		case field.Kind() == reflect.Pointer:
			all[name] = field.Elem().Interface()
		case field.Type().Elem().Kind() == reflect.Struct:
			entries := []any{}
			for j := range field.Len() {
				entries = append(entries, asMap(field.Index(j).Addr().Interface()))
			}
			all[name] = entries
		default:
			all[name] = string(field.Bytes())
		}
	}
	return all
}

// FuzzInputs takes a body of any operation as far as it goes without the cluster: it is read, held against its constraints, and its stream is found.
// What is wrong with it is the caller's fault and nobody else's.
func FuzzInputs(f *testing.F) {
	all := allShapes(f)
	names := slices.Sorted(maps.Keys(all))
	addBodies(f, func(string) bool { return true }, func(name string, body []byte, inCBOR bool) {
		at, _ := slices.BinarySearch(names, name)
		f.Add(uint8(at), body, inCBOR)
		// The names in the snapshots are not of the form that they must have.
		sound := strings.NewReplacer(`"__StreamARN__"`, `"`+testARN+`"`, `"__ResourceARN__"`, `"`+testARN+`"`, `"__ConsumerARN__"`, `"`+testARN+`/consumer/c:1700000000"`,
			`"__ChannelARN__"`, `"arn:aws:kinesis:us-east-1:000000000000:channel/c/1"`, `"__ShardIterator__"`, `"`+iterator{stream: "orders", issued: time.Unix(1, 0)}.String()+`"`,
			`"__NextToken__"`, `"`+nextToken{Of: name, Stream: "orders"}.String()+`"`, "__", "").Replace(string(body))
		if !inCBOR {
			f.Add(uint8(at), []byte(sound), false)
		}
	})
	f.Add(uint8(0), []byte(`{"StreamARN":"arn:aws:kinesis:::stream/","StreamName":""}`), false)
	server := testServer()
	f.Fuzz(func(t *testing.T, at uint8, body []byte, inCBOR bool) {
		s := all[names[int(at)%len(names)]]
		if s.in == nil {
			in := &putInput{}
			read := readPutRecords
			if s.name == "PutRecord" {
				read = readPutRecord
			}
			if err := read(readerOf(body, inCBOR), in); err != nil {
				mustBeTheirFault(t, err)
				return
			}
			mustBeTheirFault(t, checkPutRecords(in))
			var found []string
			for i := range in.entries {
				in.entries[i].check(memberPath("records.", i), i%2 == 0, &found)
				_, err := in.entries[i].record(false)
				mustBeTheirFault(t, err)
			}
			mustBeTheirFault(t, violations(found))
			mustBeTheirFault(t, server.checkOrdering(in))
			_, err := in.locate(server)
			mustBeTheirFault(t, err)
			return
		}
		in := reflect.New(reflect.TypeOf(s.in).Elem()).Interface()
		if err := codec.Decode(readerOf(body, inCBOR), in); err != nil {
			mustBeTheirFault(t, err)
			return
		}
		if err := server.validate(in); err != nil {
			mustBeTheirFault(t, err)
			return
		}
		stream, err := in.(located).locate(server)
		mustBeTheirFault(t, err)
		if err == nil && strings.ContainsAny(stream, "/:") {
			t.Errorf("%s is about the stream %q", s.name, stream)
		}
	})
}

// mustBeTheirFault makes sure that an error is one that a client gets as such, in either format.
func mustBeTheirFault(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	e := asAPIError(err)
	if e.status < 400 || e.status > 499 || e.code == "" || e.message == "" {
		t.Errorf("%v is not a client's fault", err)
	}
	w := &answered{header: map[string][]string{}}
	(&call{server: testServer(), w: w, format: formatJSON}).fail(err)
	if !json.Valid(w.body.Bytes()) {
		t.Errorf("the answer is %q", w.body.Bytes())
	}
}

// FuzzParseToken reads tokens, those that were made here and others.
func FuzzParseToken(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	f.Add(nextToken{Of: "ListShards", Stream: "a", ID: 3, After: "17", Filter: "AT_LATEST", At: 5, Issued: now.UnixMilli()}.String())
	f.Add(nextToken{Of: "ListShards", Issued: now.Add(-time.Hour).UnixMilli()}.String())
	f.Add(nextToken{Of: "ListStreams"}.String())
	f.Add("e30")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := parseToken(text, "ListShards", now)
		if err != nil {
			var e *apiError
			if !errors.As(err, &e) || e.code != codeInvalidArgument && e.code != codeExpiredToken {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again, err := parseToken(token.String(), "ListShards", now); err != nil || again != token {
			t.Errorf("%q: %+v, then %+v, %v", text, token, again, err)
		}
	})
}

// FuzzParsePolicy reads policies. What is taken means the same however it is spaced, and allows nothing once its statements deny.
func FuzzParsePolicy(f *testing.F) {
	for _, statements := range []string{
		`{"Sid":"read","Effect":"Allow","Principal":{"AWS":["111111111111","arn:aws:iam::222222222222:user/bob"]},"Action":["kinesis:Get*","kinesis:DescribeStream"],"Resource":"` + testARN + `"}`,
		`{"Effect":"Deny","Principal":"*","Action":"kinesis:DeleteStream","Resource":"*"},{"Effect":"Allow","Principal":"*","Action":"*","Resource":["x","*"]}`,
		`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::333333333333:root"},"Action":"kinesis:?etRecords","Resource":"arn:aws:kinesis:*:*:stream/orders"}`,
		`{"Effect":"Allow","Principal":{"Service":"x"},"Action":"*","Resource":"*","Condition":{}}`,
	} {
		f.Add(`{"Version":"2012-10-17","Id":"p","Statement":[`+statements+`]}`, "111111111111", "bob", "GetRecords")
	}
	f.Add(`{"Version":"2012-10-17","Statement":[{}]}`, "", "", "")
	f.Fuzz(func(t *testing.T, text, account, name, action string) {
		p, err := parsePolicy(text, testARN)
		if err != nil {
			return
		}
		var spaced bytes.Buffer
		if err := json.Indent(&spaced, []byte(text), " ", "\t"); err != nil {
			t.Fatalf("%q was taken, which is no JSON: %v", text, err)
		}
		same, err := parsePolicy(spaced.String(), testARN)
		if err != nil {
			t.Fatalf("%q: %v", spaced.String(), err)
		}
		who := caller{key: Key{Account: account, Name: name}}
		verdict := p.judge(who, action)
		if again := same.judge(who, action); again != verdict {
			t.Errorf("%q says %v, with space %v", text, verdict, again)
		}
		for i := range same.Statement {
			same.Statement[i].Effect = effectDeny
		}
		if denying := same.judge(who, action); denying == policyAllows || (denying == policySilent) != (verdict == policySilent) {
			t.Errorf("%q says %v, and %v if all of it denies", text, verdict, denying)
		}
		for i := range p.Statement {
			p.Statement[i].Principal = principals{"999999999999"}
		}
		if account != "999999999999" && p.judge(who, action) != policySilent {
			t.Errorf("%q says something about %s, whom it does not name", text, who.principal())
		}
	})
}
