package client

import (
	"context"
	"crypto/rand"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// Document is a small value that the cluster keeps under a name, with a stream or by itself: what programs that stand before
// the cluster have to remember about it.
type Document struct {
	Name  string
	Value []byte
	// Version is another after each change, and never the same again.
	Version uint64
}

// Documents returns the documents of a stream, of the cluster itself for "", whose names begin with prefix, in the order of their names.
func (c *Client) Documents(ctx context.Context, stream, prefix string) ([]Document, error) {
	var all []Document
	after := ""
	for {
		in := &levadav1.ListDocumentsRequest{Stream: stream, Prefix: prefix, After: after, Limit: pageLimit}
		var out *levadav1.ListDocumentsResponse
		err := c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) (err error) {
			out, err = api.ListDocuments(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, d := range out.GetDocuments() {
			all = append(all, Document{Name: d.GetName(), Value: d.GetValue(), Version: d.GetVersion()})
		}
		if !out.GetMore() || len(all) == 0 {
			return all, nil
		}
		after = all[len(all)-1].Name
	}
}

// PutDocument sets a document, provided that its version is the one expected: 0 if there is to be none yet. A nil value removes it. Otherwise it is a Conflict.
// version is 0 for a document that was removed, or that somebody has changed again since.
func (c *Client) PutDocument(ctx context.Context, stream, name string, value []byte, expect uint64) (version uint64, err error) {
	in := &levadav1.PutDocumentRequest{Id: rand.Text(), Stream: stream, Name: name, Value: value, Remove: value == nil, Expect: expect}
	var out *levadav1.PutDocumentResponse
	err = c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) (err error) {
		out, err = api.PutDocument(ctx, in)
		return err
	})
	return out.GetVersion(), err
}
