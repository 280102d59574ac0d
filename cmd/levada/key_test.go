package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/api/faultpb"
	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/fault"
)

func (f *fakeCluster) PutDocument(_ context.Context, in *levadav1.PutDocumentRequest) (*levadav1.PutDocumentResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.documents[in.GetName()].GetVersion() != in.GetExpect() {
		return nil, faultpb.Status(fault.New(fault.Conflict, "document %q has another version", in.GetName()))
	}
	if in.GetRemove() {
		delete(f.documents, in.GetName())
		return &levadav1.PutDocumentResponse{}, nil
	}
	f.version++
	f.documents[in.GetName()] = &levadav1.Document{Name: in.GetName(), Value: in.GetValue(), Version: f.version}
	return &levadav1.PutDocumentResponse{Version: f.version}, nil
}

func (f *fakeCluster) ListDocuments(_ context.Context, in *levadav1.ListDocumentsRequest) (*levadav1.ListDocumentsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &levadav1.ListDocumentsResponse{}
	for name, d := range f.documents {
		if strings.HasPrefix(name, in.GetPrefix()) {
			out.Documents = append(out.Documents, d)
		}
	}
	return out, nil
}

func TestKeyCommands(t *testing.T) {
	f := newFakeCluster(t)
	o := f.command(t.Context(), "", "key", "create", "--name", "orders-service", "--allow", "Put*,kinesis:Describe*:orders-*", "--allow", "*:log", "--account", "123456789012", "--tenant", "shop", "-o", "json")
	var made accessKeyView
	if err := json.Unmarshal([]byte(o.out), &made); err != nil || o.code != 0 {
		t.Fatalf("%+v: %v", o, err)
	}
	if !regexp.MustCompile(`\ALV[A-Z0-9]{18}\z`).MatchString(made.ID) || len(made.Secret) != 40 || !strings.Contains(o.err, "not shown again") {
		t.Errorf("%+v, %q", made, o.err)
	}
	name := configs.KinesisKeyPrefix + made.ID
	kept, err := configs.ParseKinesisKey(name, f.documents[name].GetValue())
	want := configs.KinesisKey{
		ID: made.ID, Secret: configs.Secret(made.Secret), Name: "orders-service", Account: "123456789012", Tenant: "shop", Created: kept.Created,
		Allow: []configs.KinesisPermission{{Actions: []string{"Put*", "kinesis:Describe*"}, Streams: []string{"orders-*"}}, {Actions: []string{"*"}, Streams: []string{"log"}}},
	}
	if diff := cmp.Diff(want, kept); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}

	o = f.command(t.Context(), "", "key", "list")
	if o.code != 0 || strings.Contains(o.out+o.err, made.Secret) {
		t.Errorf("%+v", o)
	}
	for _, cell := range []string{made.ID, "orders-service", "123456789012", "shop", "Put*,kinesis:Describe*:orders-* *:log", made.Created} {
		if !strings.Contains(o.out, cell) {
			t.Errorf("%q is not in\n%s", cell, o.out)
		}
	}
	var listed []accessKeyView
	o = f.command(t.Context(), "", "key", "list", "-o", "json")
	if err := json.Unmarshal([]byte(o.out), &listed); err != nil || len(listed) != 1 || listed[0].ID != made.ID || strings.Contains(o.out, "secret") {
		t.Errorf("%s: %v", o.out, err)
	}

	if o := f.command(t.Context(), "", "key", "delete", made.ID[:19]); o.code != exitNotFound || !strings.Contains(o.err, "levada key list") {
		t.Errorf("%+v", o)
	}
	if o := f.command(t.Context(), "", "key", "delete", made.ID); o.code != 0 || o.out != "deleted "+made.ID+"\n" {
		t.Errorf("%+v", o)
	}
	if o := f.command(t.Context(), "", "key", "delete", made.ID, "--if-exists", "-o", "json"); o.code != 0 || strings.Join(strings.Fields(o.out), "") != `{"deleted":"","existed":false}` {
		t.Errorf("%+v", o)
	}
	if o := f.command(t.Context(), "", "key", "list", "-o", "json"); o.out != "[]\n" {
		t.Errorf("%+v", o)
	}
}

func TestKeysThatCannotBeUsedAreTold(t *testing.T) {
	f := newFakeCluster(t)
	f.documents[configs.KinesisKeyPrefix+"ODD"] = &levadav1.Document{Name: configs.KinesisKeyPrefix + "ODD", Value: []byte(`{"secret":"hidden"}`), Version: 1}
	o := f.command(t.Context(), "", "key", "list")
	if o.code != 0 || !strings.Contains(o.err, "key ODD cannot be used") || strings.Contains(o.err+o.out, "hidden") {
		t.Errorf("%+v", o)
	}
	if o := f.command(t.Context(), "", "key", "delete", "ODD"); o.code != 0 || len(f.documents) != 0 {
		t.Errorf("%+v", o)
	}
}

func TestKeysDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id, secret := newKeyPair()
		if seen[id] || seen[secret.Reveal()] {
			t.Fatal("a key was made twice")
		}
		seen[id], seen[secret.Reveal()] = true, true
	}
}
