package node

import (
	"context"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/meta"
)

func (a *adminServer) PutDocument(ctx context.Context, req *pb.PutDocumentRequest) (*pb.PutDocumentResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	c := &meta.PutDocument{Name: req.GetName(), Value: req.GetValue(), Remove: req.GetRemove(), Expect: req.GetExpect(), Writer: req.GetId(), Remember: true}
	if req.GetStream() != "" {
		st, err := a.stream(req.GetStream())
		if err != nil {
			return nil, err
		}
		c.StreamID = st.ID
	}
	if err := a.n.propose(ctx, c); err != nil {
		return nil, err
	}
	// This node has applied it: what it has now is that, or something later, whose version is not for this caller.
	documents, err := a.documents(req.GetStream())
	if err != nil {
		return nil, err
	}
	out := &pb.PutDocumentResponse{}
	if d := documents.Get(req.GetName()); d != nil && d.Writer == req.GetId() {
		out.Version = d.Version
	}
	return out, nil
}

func (a *adminServer) ListDocuments(_ context.Context, req *pb.ListDocumentsRequest) (*pb.ListDocumentsResponse, error) {
	documents, err := a.documents(req.GetStream())
	if err != nil {
		return nil, err
	}
	limit := pageLimit(req.GetLimit())
	out := &pb.ListDocumentsResponse{}
	for _, d := range documents.From(req.GetPrefix(), req.GetAfter()) {
		if len(out.Documents) == limit {
			out.More = true
			break
		}
		out.Documents = append(out.Documents, &pb.Document{Name: d.Name, Value: d.Value, Version: d.Version})
	}
	return out, nil
}

// documents returns those of a stream, of the cluster for "".
func (a *adminServer) documents(stream string) (meta.Documents, error) {
	if stream == "" {
		return a.n.metaStore.State().Documents(), nil
	}
	st, err := a.stream(stream)
	if err != nil {
		return nil, err
	}
	return st.Documents(), nil
}
