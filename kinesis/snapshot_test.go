package kinesis

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	transport "github.com/aws/smithy-go/endpoints"

	"github.com/levada-stream/levada/kinesis/codec"
)

// The SDK comes with snapshots of what it sends and reads, one for each operation, in which every member that the API has is set. These tests read them
// where the Go tool keeps the SDK: a newer SDK brings its own, and says what of the API is new.

const sdkModule = "github.com/aws/aws-sdk-go-v2/service/kinesis"

// sdkDir is where the source of the SDK is that this module uses.
func sdkDir(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", sdkModule).CombinedOutput()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Fatalf("the source of %s is needed for its snapshots: go list says %q, %v", sdkModule, dir, err)
	}
	return dir
}

// snapshot is one of the SDK's.
type snapshot struct {
	first  string // the request line, or the status
	header http.Header
	body   []byte
}

func readSnapshot(t testing.TB, path string) snapshot {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := bytes.Cut(data, []byte("\n\n{"))
	if !ok {
		t.Fatalf("%s has no body: %s", path, data)
	}
	s := snapshot{header: http.Header{}, body: append([]byte("{"), bytes.TrimSpace(body)...)}
	for i, line := range strings.Split(string(head), "\n") {
		name, value, isHeader := strings.Cut(line, ": ")
		switch {
		case i == 0:
			s.first = line
		case isHeader:
			s.header.Set(name, value)
		}
	}
	return s
}

// snapshots reads those of a directory whose names end alike, by what their names begin with.
func snapshots(t testing.TB, dir, suffix string) map[string]snapshot {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(sdkDir(t), dir, "*"+suffix))
	if err != nil || len(paths) == 0 {
		t.Fatalf("the SDK has no %s/*%s: %v", dir, suffix, err)
	}
	all := map[string]snapshot{}
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), suffix)] = readSnapshot(t, path)
	}
	return all
}

// shapes is what an operation reads and writes: pointers to structs of its own, nil where it does so itself.
type shapes struct {
	name    string
	in, out any
}

// shapesOf tells the shapes of an operation by the function that op makes it of, which has its name.
func shapesOf[I, O any, P input[I]](do func(context.Context, *Server, *call, P) (*O, error)) shapes {
	name := runtime.FuncForPC(reflect.ValueOf(do).Pointer()).Name()
	name = name[strings.LastIndexByte(name, '.')+1:]
	return shapes{name: string(unicode.ToUpper(rune(name[0]))) + name[1:], in: new(I), out: new(O)}
}

// allShapes are those of all operations, by name.
func allShapes(t testing.TB) map[string]shapes {
	t.Helper()
	all := map[string]shapes{}
	for _, s := range []shapes{
		{"GetRecords", new(getRecordsInput), nil},
		{"PutRecord", nil, new(putRecordOutput)},
		{"PutRecords", nil, nil},
		{"SubscribeToShard", new(subscribeToShardInput), nil},
		shapesOf(addTagsToStream),
		shapesOf(createChannel),
		shapesOf(createStream),
		shapesOf(decreaseStreamRetentionPeriod),
		shapesOf(deleteChannel),
		shapesOf(deleteResourcePolicy),
		shapesOf(deleteStream),
		shapesOf(deregisterStreamConsumer),
		shapesOf(describeAccountSettings),
		shapesOf(describeChannel),
		shapesOf(describeLimits),
		shapesOf(describeStream),
		shapesOf(describeStreamConsumer),
		shapesOf(describeStreamSummary),
		shapesOf(disableEnhancedMonitoring),
		shapesOf(enableEnhancedMonitoring),
		shapesOf(getResourcePolicy),
		shapesOf(getShardIterator),
		shapesOf(increaseStreamRetentionPeriod),
		shapesOf(listChannels),
		shapesOf(listShards),
		shapesOf(listStreamConsumers),
		shapesOf(listStreams),
		shapesOf(listTagsForResource),
		shapesOf(listTagsForStream),
		shapesOf(mergeShards),
		shapesOf(putResourcePolicy),
		shapesOf(registerStreamConsumer),
		shapesOf(removeTagsFromStream),
		shapesOf(splitShard),
		shapesOf(startStreamEncryption),
		shapesOf(stopStreamEncryption),
		shapesOf(tagResource),
		shapesOf(untagResource),
		shapesOf(updateAccountSettings),
		shapesOf(updateChannel),
		shapesOf(updateMaxRecordSize),
		shapesOf(updateShardCount),
		shapesOf(updateStreamMode),
		shapesOf(updateStreamRecordDistributionStrategy),
		shapesOf(updateStreamWarmThroughput),
	} {
		all[s.name] = s
	}
	for _, op := range operations() {
		if _, ok := all[op.name]; !ok {
			t.Errorf("the shapes of %s are not told", op.name)
		}
	}
	if len(all) != len(operations()) {
		t.Errorf("%d operations have shapes, there are %d", len(all), len(operations()))
	}
	return all
}

// exchange is the SDK with somebody in place of the network.
type exchange struct {
	target string
	sent   []byte // what the SDK sent
	answer http.HandlerFunc
}

// Do answers a request of the SDK.
func (e *exchange) Do(r *http.Request) (*http.Response, error) {
	e.target = r.Header.Get(targetHeader)
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		e.sent = body
	}
	w := &answered{status: http.StatusOK, header: http.Header{}}
	e.answer(w, r)
	return &http.Response{StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r, ProtoMajor: 2}, nil
}

// answered is an http.ResponseWriter that keeps what it is given.
type answered struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (w *answered) Header() http.Header         { return w.header }
func (w *answered) WriteHeader(status int)      { w.status = status }
func (w *answered) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *answered) Flush()                      {}

// ResolveEndpoint leads every request to the exchange, whatever is in it.
func (e *exchange) ResolveEndpoint(context.Context, sdk.EndpointParameters) (transport.Endpoint, error) {
	return transport.Endpoint{URI: url.URL{Scheme: "http", Host: "test"}}, nil
}

// operation returns the method of a client of the exchange that is an operation.
func (e *exchange) operation(t *testing.T, name string) reflect.Value {
	t.Helper()
	method := reflect.ValueOf(sdk.New(sdk.Options{
		Region: "us-east-1", HTTPClient: e, EndpointResolverV2: e, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(testKeyID, testSecret, ""),
	})).MethodByName(name)
	if !method.IsValid() {
		t.Fatalf("the SDK has no operation %s", name)
	}
	return method
}

// call has the SDK call an operation with an input that has everything.
func (e *exchange) call(t *testing.T, name string) (out reflect.Value, err error) {
	t.Helper()
	method := e.operation(t, name)
	in := reflect.New(method.Type().In(1).Elem())
	fill(in.Elem(), "")
	results := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), in})
	err, _ = results[1].Interface().(error)
	return results[0], err
}

// moment is the time in the SDK's snapshots.
var moment = time.Unix(946684800, 0).UTC()

// fill sets every exported member of a value as in the SDK's snapshots.
func fill(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.String:
		v.SetString("__" + name + "__")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
		if v.Type() == reflect.TypeFor[codec.Time]() {
			v.SetInt(moment.UnixMilli())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("blob"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), "Member")
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key0"), reflect.ValueOf("__Value__"))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(moment))
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" || f.Anonymous && f.Type.NumField() > 0 {
				fill(v.Field(i), f.Name)
			}
		}
	}
}

// parse reads JSON into maps, slices, texts, truth values and json.Numbers.
func parse(t testing.TB, body []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return tree
}

// members lists the members of a tree, each with the kind of its value: "Records[].Data" is "string".
func members(tree any, path string, into map[string]string) {
	kind := ""
	switch v := tree.(type) {
	case map[string]any:
		kind = "object"
		for name, value := range v {
			members(value, strings.TrimPrefix(path+"."+name, "."), into)
		}
	case []any:
		kind = "array"
		for _, value := range v {
			members(value, path+"[]", into)
		}
	case string, []byte:
		kind = "string"
	case json.Number:
		kind = "number"
	case bool:
		kind = "boolean"
	}
	if path != "" {
		into[path] = kind
	}
}
