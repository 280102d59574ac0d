package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/levada-stream/levada/kinesis/codec"
)

// The key with which requests of the Kinesis API are signed.
const (
	kinesisKeyID, kinesisSecret = "AKIDBENCH", "a-secret-that-protects-nothing"
	kinesisRegion               = "us-east-1"
	// kinesisCallRecords is how many records one call puts.
	kinesisCallRecords = 500
)

// kinesisMode is one way to put records through the Kinesis API.
type kinesisMode struct {
	callers int
	cbor    bool // requests in CBOR made by hand, as the SDK for Java makes them; else the SDK for Go, in JSON
}

func (m kinesisMode) String() string {
	if m.cbor {
		return fmt.Sprintf("%d callers of PutRecords with %d records, CBOR, signed", m.callers, kinesisCallRecords)
	}
	return fmt.Sprintf("%d callers of PutRecords with %d records through the AWS SDK for Go, JSON, signed", m.callers, kinesisCallRecords)
}

func kinesisModes(cbor bool) func(int) []mode {
	return func(int) []mode {
		var all []mode
		for _, callers := range []int{2, 8, 32} {
			all = append(all, kinesisMode{callers: callers, cbor: cbor})
		}
		return all
	}
}

// kinesisWriter puts records through the Kinesis API at one or more endpoints.
type kinesisWriter struct {
	how       kinesisMode
	stream    string
	endpoints []string
	data      []byte
	client    *http.Client
}

func newKinesisWriter(ctx context.Context, endpoints []string, t target) (*kinesisWriter, error) {
	how := t.how.(kinesisMode)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = how.callers
	w := &kinesisWriter{how: how, stream: streamName(t.shards), endpoints: endpoints, data: payload(t.size), client: &http.Client{Transport: transport}}
	c := w.sdk(0)
	_, err := c.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &w.stream, ShardCount: aws.Int32(int32(t.shards))})
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return nil, fmt.Errorf("create stream: %w", err)
	}
	ready := kinesis.NewStreamExistsWaiter(c, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 200*time.Millisecond
	})
	return w, ready.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &w.stream}, startMax)
}

// sdk returns the SDK's client of the i-th endpoint.
func (w *kinesisWriter) sdk(i int) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region: kinesisRegion, BaseEndpoint: aws.String(w.endpoints[i%len(w.endpoints)]), HTTPClient: w.client,
		Credentials: credentials.NewStaticCredentialsProvider(kinesisKeyID, kinesisSecret, ""),
	})
}

func (w *kinesisWriter) size() int { return len(w.data) }

func (w *kinesisWriter) flood(ctx context.Context, acked *atomic.Int64) error {
	var callers sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range w.how.callers {
		callers.Go(func() {
			put := w.viaSDK(i)
			if w.how.cbor {
				put = w.viaCBOR(i)
			}
			for ctx.Err() == nil && failed.Load() == nil {
				n, err := put(context.WithoutCancel(ctx))
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
				acked.Add(int64(n))
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// viaSDK returns a function that makes one call through the SDK and returns how many of its records were stored.
func (w *kinesisWriter) viaSDK(caller int) func(context.Context) (int, error) {
	c, random := w.sdk(caller), rand.New(rand.NewPCG(uint64(caller), 1))
	entries := make([]types.PutRecordsRequestEntry, kinesisCallRecords)
	return func(ctx context.Context) (int, error) {
		for i := range entries {
			entries[i] = types.PutRecordsRequestEntry{Data: w.data, PartitionKey: aws.String(strconv.FormatUint(random.Uint64N(keys), 10))}
		}
		out, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &w.stream, Records: entries})
		if err != nil {
			return 0, err
		}
		return len(out.Records) - int(aws.ToInt32(out.FailedRecordCount)), nil
	}
}

// viaCBOR is viaSDK with requests in CBOR.
func (w *kinesisWriter) viaCBOR(caller int) func(context.Context) (int, error) {
	random, sign := rand.New(rand.NewPCG(uint64(caller), 1)), signer.NewSigner()
	key := aws.Credentials{AccessKeyID: kinesisKeyID, SecretAccessKey: kinesisSecret}
	endpoint := w.endpoints[caller%len(w.endpoints)]
	var body []byte
	return func(ctx context.Context) (int, error) {
		out := codec.NewCBORWriter(body[:0])
		out.Begin(codec.Object)
		out.Name("StreamName")
		out.Text(w.stream)
		out.Name("Records")
		out.Begin(codec.Array)
		for range kinesisCallRecords {
			out.Begin(codec.Object)
			out.Name("Data")
			out.Blob(w.data)
			out.Name("PartitionKey")
			out.Text(strconv.FormatUint(random.Uint64N(keys), 10))
			out.End(codec.Object)
		}
		out.End(codec.Array)
		out.End(codec.Object)
		body = out.Bytes()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/", bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
		req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
		sum := sha256.Sum256(body)
		if err := sign.SignHTTP(ctx, key, req, hex.EncodeToString(sum[:]), "kinesis", kinesisRegion, time.Now()); err != nil {
			return 0, err
		}
		resp, err := w.client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err
		}
		if resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("status %d: %q", resp.StatusCode, answer)
		}
		failed, err := failedOf(answer)
		return kinesisCallRecords - failed, err
	}
}

// failedOf reads FailedRecordCount of an answer in CBOR.
func failedOf(answer []byte) (failed int, _ error) {
	r := codec.NewCBOR(answer)
	for r.Open(codec.Object); r.More(); {
		if string(r.Name()) == "FailedRecordCount" {
			failed = int(r.Int())
			continue
		}
		r.Skip()
	}
	return failed, r.Err()
}

var errNotMeasured = errors.New("not measured through this API")

func (w *kinesisWriter) one(context.Context, int) error { return errNotMeasured }

func (w *kinesisWriter) send(context.Context, uint64, []byte, func(int, error)) error {
	return errNotMeasured
}

func (w *kinesisWriter) close() { w.client.CloseIdleConnections() }
