package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/levada-stream/levada/client"
)

// recordFormat writes one record.
type recordFormat func(w io.Writer, r client.Record) error

// newRecordFormat returns the format of a name, raw or json, or of a template.
func newRecordFormat(text string) (recordFormat, error) {
	switch text {
	case "raw":
		return writeRaw, nil
	case "json":
		return writeRecordJSON, nil
	}
	parsed, err := template.New("format").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, usagef("--format: %w", err)
	}
	if err := parsed.Execute(io.Discard, viewRecord(client.Record{})); err != nil {
		return nil, usagef("--format: %w", err)
	}
	return func(w io.Writer, r client.Record) error {
		if err := parsed.Execute(w, viewRecord(r)); err != nil {
			return err
		}
		_, err := io.WriteString(w, "\n")
		return err
	}, nil
}

func writeRaw(w io.Writer, r client.Record) error {
	if _, err := w.Write(r.Data); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// recordView is a record in templates.
type recordView struct {
	Shard    string    // shard-000000000003
	Number   uint32    // the shard's number
	Sequence string    // sequence number
	Ordinal  uint64    // position in the shard
	Time     time.Time // of arrival
	Key      string    // partition key
	HashKey  string    // in decimal
	Data     string    // the bytes as they are
	Size     int       // of the data, in bytes
}

func viewRecord(r client.Record) recordView {
	return recordView{
		Shard: shardID(r.Shard), Number: r.Shard, Sequence: r.Sequence.String(), Ordinal: r.Ordinal,
		Time: r.ApproxArrival.UTC(), Key: r.PartitionKey, HashKey: r.HashKey().String(), Data: string(r.Data), Size: len(r.Data),
	}
}

// recordJSON is a record as one line of JSON. Data that is no UTF-8 text goes
// into data_base64 instead of data.
type recordJSON struct {
	Shard    string  `json:"shard"`
	Sequence string  `json:"sequence"`
	Ordinal  uint64  `json:"ordinal"`
	Time     string  `json:"time"`
	Key      string  `json:"key"`
	HashKey  string  `json:"hash_key,omitempty"` // an explicit one only
	Data     *string `json:"data,omitempty"`
	Base64   string  `json:"data_base64,omitempty"`
}

func writeRecordJSON(w io.Writer, r client.Record) error {
	v := recordJSON{
		Shard: shardID(r.Shard), Sequence: r.Sequence.String(), Ordinal: r.Ordinal,
		Time: timeText(r.ApproxArrival.UnixMilli()), Key: r.PartitionKey,
	}
	if r.ExplicitHashKey != nil {
		v.HashKey = r.ExplicitHashKey.String()
	}
	if utf8.Valid(r.Data) {
		text := string(r.Data)
		v.Data = &text
	} else {
		v.Base64 = base64.StdEncoding.EncodeToString(r.Data)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
