package kinesis

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/kinesis/codec"
)

// putRead is what PutRecord and PutRecords read, with the names that it has in a request.
type putRead struct {
	StreamName, StreamARN, StreamId, SequenceNumberForOrdering *string
	DryRun                                                     *bool
	Data                                                       []byte
	PartitionKey, ExplicitHashKey                              *string
	Records                                                    []putEntryRead
}

type putEntryRead struct {
	Data                          []byte
	PartitionKey, ExplicitHashKey *string
}

func putReadOf(in *putInput, one bool) *putRead {
	out := &putRead{StreamName: in.StreamName, StreamARN: in.StreamARN, StreamId: in.StreamId, SequenceNumberForOrdering: in.ordering}
	if in.dryRun {
		out.DryRun = &in.dryRun
	}
	for i := range in.entries {
		e, read := &in.entries[i], putEntryRead{}
		key := string(e.key)
		if e.hasData {
			read.Data = append([]byte{}, e.data...) // an empty one is there, too
		}
		if e.hasKey {
			read.PartitionKey = &key
		}
		if e.hasExplicit {
			read.ExplicitHashKey = &e.explicit
		}
		out.Records = append(out.Records, read)
	}
	if one {
		e := out.Records[0]
		out.Data, out.PartitionKey, out.ExplicitHashKey, out.Records = e.Data, e.PartitionKey, e.ExplicitHashKey, nil
	}
	return out
}

// decodeAs reads a body as the server does for an operation.
func decodeAs(s shapes, r codec.Reader) (any, error) {
	in := &putInput{}
	switch s.name {
	case "PutRecord":
		err := readPutRecord(r, in)
		return putReadOf(in, true), err
	case "PutRecords":
		err := readPutRecords(r, in)
		return putReadOf(in, false), err
	}
	into := reflect.New(reflect.TypeOf(s.in).Elem()).Interface()
	return into, codec.Decode(r, into)
}

// toCBOR writes a tree as a client of that format does. What is no text in it goes by the member's name.
func toCBOR(t testing.TB, w codec.Writer, name string, tree any) {
	t.Helper()
	switch v := tree.(type) {
	case map[string]any:
		w.Begin(codec.Object)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			w.Name(key)
			toCBOR(t, w, key, v[key])
		}
		w.End(codec.Object)
	case []any:
		w.Begin(codec.Array)
		for _, e := range v {
			toCBOR(t, w, name, e)
		}
		w.End(codec.Array)
	case string:
		if name != "Data" {
			w.Text(v)
			return
		}
		data, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		w.Blob(data)
	case bool:
		w.Bool(v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "Timestamp") {
			w.Time(n * 1000)
			return
		}
		w.Int(n)
	default:
		t.Fatalf("%s is a %T", name, tree)
	}
}

// differences lists what of a request was not read as it stands there.
func differences(path string, want any, got reflect.Value) []string {
	for got.Kind() == reflect.Pointer {
		if got.IsNil() {
			return []string{path + " was passed over"}
		}
		got = got.Elem()
	}
	var is any
	switch w := want.(type) {
	case map[string]any:
		return memberDifferences(path, w, got)
	case []any:
		if got.Kind() != reflect.Slice || got.Len() != len(w) {
			return []string{fmt.Sprintf("%s is %v", path, got)}
		}
		var found []string
		for i := range w {
			found = append(found, differences(fmt.Sprintf("%s[%d]", path, i), w[i], got.Index(i))...)
		}
		return found
	case string:
		if is = got.String(); got.Type() == reflect.TypeFor[[]byte]() {
			is = base64.StdEncoding.EncodeToString(got.Bytes())
		}
	case bool:
		is = got.Kind() == reflect.Bool && got.Bool()
	case json.Number:
		if got.Kind() != reflect.Int64 {
			return []string{fmt.Sprintf("%s is a %v", path, got.Type())}
		}
		n := got.Int()
		if got.Type() == reflect.TypeFor[codec.Time]() {
			n /= 1000
		}
		is = json.Number(fmt.Sprint(n))
	}
	if is != want {
		return []string{fmt.Sprintf("%s is %v, want %v", path, is, want)}
	}
	return nil
}

func memberDifferences(path string, want map[string]any, got reflect.Value) (found []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		at, value := strings.TrimPrefix(path+"."+name, "."), reflect.Value{}
		switch got.Kind() {
		case reflect.Struct:
			value = got.FieldByName(name)
		case reflect.Map:
			value = got.MapIndex(reflect.ValueOf(name))
		}
		if !value.IsValid() {
			found = append(found, at+" was passed over")
			continue
		}
		found = append(found, differences(at, want[name], value)...)
	}
	return found
}

// requests returns the requests of all operations: the snapshots, and what the SDK sends where there is none.
func requests(t *testing.T) map[string][]byte {
	t.Helper()
	bodies := map[string][]byte{}
	for name, s := range snapshots(t, "request_snapshot", ".request.snap") {
		if s.first != "POST /" || s.header.Get(targetHeader) != targetPrefix+name || formatOf(s.header.Get("Content-Type")) != formatJSON {
			t.Errorf("%s is asked for with %s %v", name, s.first, s.header)
		}
		bodies[name] = s.body
	}
	for _, op := range operations() {
		e := &exchange{answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }}
		_, _ = e.call(t, op.name) // the answer means nothing
		if e.target != targetPrefix+op.name {
			t.Errorf("the SDK asks for %s as %q", op.name, e.target)
			continue
		}
		sent := map[string]string{}
		members(parse(t, e.sent), "", sent)
		if bodies[op.name] == nil {
			t.Logf("there is no snapshot of %s: the SDK sends %s", op.name, e.sent)
			bodies[op.name] = e.sent
			continue
		}
		kept := map[string]string{}
		members(parse(t, bodies[op.name]), "", kept)
		if diff := cmp.Diff(kept, sent); diff != "" {
			t.Errorf("the snapshot of %s is not all that the SDK sends (-snapshot, +sent):\n%s", op.name, diff)
		}
	}
	return bodies
}

// TestRequestSnapshotsAreReadWhole reads what the SDK sends for each operation, with everything set, in both formats, and holds every value
// against the text.
func TestRequestSnapshotsAreReadWhole(t *testing.T) {
	all, bodies := allShapes(t), requests(t)
	for name := range bodies {
		if all[name].name == "" {
			t.Errorf("the SDK has an operation that the server does not: %s", name)
		}
	}
	read := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		want := parse(t, bodies[name])
		inCBOR := codec.NewCBORWriter(nil)
		toCBOR(t, inCBOR, "", want)
		for format, r := range map[string]codec.Reader{"JSON": codec.NewJSON(slices.Clone(bodies[name])), "CBOR": codec.NewCBOR(inCBOR.Bytes())} {
			got, err := decodeAs(all[name], r)
			if err != nil {
				t.Errorf("%s in %s: %v", name, format, err)
				continue
			}
			for _, d := range differences("", want, reflect.ValueOf(got)) {
				t.Errorf("%s in %s: %s", name, format, d)
			}
		}
		found := map[string]string{}
		members(want, "", found)
		read += len(found)
	}
	t.Logf("%d operations, %d members", len(all), read)
}

// readBeside are members that an input has here and not in the API, with the reason.
var readBeside = map[string]string{
	"SubscribeToShard StreamARN":    "part of how other operations name a consumer; without a ConsumerARN the request is refused",
	"SubscribeToShard ConsumerName": "part of how other operations name a consumer; without a ConsumerARN the request is refused",
}

// TestInputsHaveNothingThatTheAPIHasNot finds members that no client can send: they are misspelt, or no longer there.
func TestInputsHaveNothingThatTheAPIHasNot(t *testing.T) {
	bodies, unused := requests(t), maps.Clone(readBeside)
	for name, s := range allShapes(t) {
		if s.in == nil {
			continue // read by name, and not from a struct's fields
		}
		known, ours := map[string]string{}, map[string]string{}
		members(parse(t, bodies[name]), "", known)
		in := reflect.New(reflect.TypeOf(s.in).Elem())
		fill(in.Elem(), "")
		fieldsOf(in, "", ours)
		for path := range ours {
			if _, ok := known[path]; ok {
				continue
			}
			if _, ok := readBeside[name+" "+path]; !ok {
				t.Errorf("%s reads %s, which the API does not have", name, path)
			}
			delete(unused, name+" "+path)
		}
	}
	for what := range unused {
		t.Errorf("%s is not read any more", what)
	}
}

// fieldsOf lists the members of a struct as members does those of a tree.
func fieldsOf(v reflect.Value, path string, into map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fieldsOf(v.Elem(), path, into)
		}
		return
	case reflect.Struct:
		if v.NumField() > 0 && v.Type() != reflect.TypeOf(moment) {
			for i := range v.NumField() {
				f := v.Type().Field(i)
				switch {
				case f.Anonymous:
					fieldsOf(v.Field(i), path, into)
				case f.IsExported() && f.Name != "ResultMetadata":
					fieldsOf(v.Field(i), strings.TrimPrefix(path+"."+f.Name, "."), into)
				}
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return
		}
		if v.Type().Elem().Kind() != reflect.Uint8 {
			for i := range v.Len() {
				fieldsOf(v.Index(i), path+"[]", into)
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			fieldsOf(v.MapIndex(key), path+"."+key.String(), into)
		}
	case reflect.String:
		if v.Len() == 0 {
			return
		}
	}
	if path != "" {
		into[path] = v.Kind().String()
	}
}
