package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/google/uuid"

	"github.com/levada-stream/levada/internal/vfs"
)

// formatVersion is the version of the data directory's layout. A directory of
// another version is refused. Version 2 has the headers of
// commands in the extensions of entries.
const formatVersion = 2

const (
	identityName = "identity.json"
	lockName     = "LOCK"
)

// identity is what makes a data directory one node of one cluster.
type identity struct {
	Format      int    `json:"format"`
	NodeID      string `json:"node_id"`
	Name        string `json:"name"`
	ClusterName string `json:"cluster_name"`
	// ClusterID is empty until the node has seen the control state.
	ClusterID string `json:"cluster_id,omitempty"`
	// Founder is the one node this node agrees may found a cluster with it.
	Founder     string `json:"founder,omitempty"`
	FounderName string `json:"founder_name,omitempty"`
	// Incarnation counts the starts of the node.
	Incarnation uint64 `json:"incarnation"`
}

var (
	errNewerFormat = errors.New("the data directory was written by a newer version")
	errOlderFormat = errors.New("the data directory was written by an earlier version that was never released")
	errOtherNode   = errors.New("the data directory belongs to another node")
	errIncomplete  = errors.New("the data directory is incomplete")
)

// openIdentity locks dir, then reads its identity or makes a new one, and
// counts one more incarnation. The lock holds until the closer is closed.
func openIdentity(fsys vfs.FS, dir, name, clusterName string) (identity, io.Closer, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return identity{}, nil, fmt.Errorf("make data directory %s: %w", dir, err)
	}
	lock, err := fsys.Lock(path.Join(dir, lockName))
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return identity{}, nil, fmt.Errorf("data directory %s is in use by another process: %w", dir, err)
	case err != nil:
		return identity{}, nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	id, err := readIdentity(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err = refuseStray(fsys, dir); err == nil {
			id = identity{Format: formatVersion, NodeID: uuid.NewString(), Name: name, ClusterName: clusterName}
		}
	case err == nil:
		if err = id.check(dir, name, clusterName); err == nil {
			err = id.refusePart(fsys, dir)
		}
	}
	if err == nil {
		id.Incarnation++
		err = writeIdentity(fsys, dir, id)
	}
	if err != nil {
		return identity{}, nil, errors.Join(err, lock.Close())
	}
	return id, lock, nil
}

// check refuses a directory that is not this configuration's own.
func (id identity) check(dir, name, clusterName string) error {
	switch {
	case id.Format > formatVersion:
		return fmt.Errorf("%w: %s has format %d, this program knows up to %d; start the newer version", errNewerFormat, dir, id.Format, formatVersion)
	case id.Format > 0 && id.Format < formatVersion:
		return fmt.Errorf("%w: %s has format %d, this program reads %d alone; move the directory away to start as a new node", errOlderFormat, dir, id.Format, formatVersion)
	case id.Format < 1 || id.NodeID == "":
		return fmt.Errorf("%s is damaged: no format or node id; restore it from a copy, or move the directory away to start as a new node", path.Join(dir, identityName))
	case id.Name != name:
		return fmt.Errorf("%w: %s is node %q, the configuration says node.name %q", errOtherNode, dir, id.Name, name)
	case id.ClusterName != clusterName:
		return fmt.Errorf("%w: %s is of cluster %q, the configuration says cluster.name %q", errOtherNode, dir, id.ClusterName, clusterName)
	}
	return nil
}

// hasVoted reports whether a node of this identity may have voted: before, it
// has neither agreed to a founder nor seen a cluster, and its directory holds nothing yet that others count on.
func (id identity) hasVoted() bool { return id.ClusterID != "" || id.Founder != "" }

// refusePart stops a node that has lost a part of its directory and kept its
// identity: without its votes or its entries it could help to elect a leader
// that lacks what it acknowledged.
func (id identity) refusePart(fsys vfs.FS, dir string) error {
	if !id.hasVoted() {
		return nil
	}
	for _, part := range []string{"journal", "meta.db", "stable.db", "groups"} {
		info, err := fsys.Stat(path.Join(dir, part))
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir() && info.Size() == 0) {
			return fmt.Errorf("%w: %s is missing or empty; restore it, or move the whole directory away to come back as a new node", errIncomplete, path.Join(dir, part))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refuseStray stops a node from founding a new identity over data that has lost its own.
func refuseStray(fsys vfs.FS, dir string) error {
	for _, sub := range []string{"journal", "meta.db", "groups", "stable.db"} {
		if _, err := fsys.Stat(path.Join(dir, sub)); err == nil {
			return fmt.Errorf("%s holds %s but no %s; restore the file, or move the directory away to start as a new node", dir, sub, identityName)
		}
	}
	return nil
}

func readIdentity(fsys vfs.FS, dir string) (identity, error) {
	var id identity
	f, err := fsys.Open(path.Join(dir, identityName))
	if err != nil {
		return id, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return id, err
	}
	b := make([]byte, min(size, 1<<16))
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return id, err
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, fmt.Errorf("%s is damaged: %w", path.Join(dir, identityName), err)
	}
	return id, nil
}

// writeIdentity replaces the file atomically and durably.
func writeIdentity(fsys vfs.FS, dir string, id identity) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	tmp := path.Join(dir, identityName+".tmp")
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(append(b, '\n'), 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, path.Join(dir, identityName)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
