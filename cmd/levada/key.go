package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// keyCommands manage the access keys that the cluster keeps.
type keyCommands struct {
	Create keyCreateCommand `cmd:"" help:"Make an access key and print its secret, this once."`
	List   keyListCommand   `cmd:"" help:"List the keys that the cluster keeps, without their secrets."`
	Delete keyDeleteCommand `cmd:"" help:"Delete a key. Requests signed with it are refused from then on."`
}

// keyCreateCommand makes a key.
type keyCreateCommand struct {
	target
	Name    string   `help:"Whose the key is: it stands in the caller's ARN, arn:aws:iam::ACCOUNT:user/NAME." required:"" placeholder:"NAME"`
	Allow   []string `help:"Actions that the key may do on streams, for example \"Put*,Describe*:orders-*\", or \"*:*\" for all. Give it again for more." required:"" sep:"none" placeholder:"ACTIONS:STREAMS"`
	Account string   `help:"Account it belongs to, twelve digits. By default the one that the streams are of." placeholder:"ACCOUNT"`
	Tenant  string   `help:"A label." placeholder:"TENANT"`
}

// Run implements the command.
func (c keyCreateCommand) Run(ctx context.Context, s *session) error {
	allow, err := parseAllow(c.Allow)
	if err != nil {
		return err
	}
	id, secret := newKeyPair()
	key := configs.KinesisKey{ID: id, Secret: secret, Name: c.Name, Account: c.Account, Tenant: c.Tenant, Allow: allow, Created: time.Now()}
	document, value, err := key.Document()
	if err != nil {
		return usageError{fmt.Errorf("--%w", err)} // it begins with the field, which is named like the flag
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.PutDocument(ctx, "", document, value, 0); err != nil {
		return err
	}
	s.warn("the secret is not shown again")
	return printNewKey(s.out, key, c.json())
}

// The form of keys: that of Amazon's, which some programs check.
const (
	keyIDPrefix    = "LV"
	keyIDLength    = 20
	secretLength   = 40
	allowSeparator = ":"
)

// newKeyPair returns a random id, of capitals and digits, and a secret with 200 bits of chance.
func newKeyPair() (id string, secret configs.Secret) {
	return (keyIDPrefix + rand.Text())[:keyIDLength], configs.Secret((rand.Text() + rand.Text())[:secretLength])
}

// parseAllow reads the permissions of --allow. Streams have no colon in their names, actions may have one before them.
func parseAllow(flags []string) ([]configs.KinesisPermission, error) {
	var allow []configs.KinesisPermission
	for _, text := range flags {
		at := strings.LastIndex(text, allowSeparator)
		if at < 0 {
			return nil, usagef("--allow: %q must be actions, a colon and streams, for example \"Put*,Describe*:orders-*\"", text)
		}
		allow = append(allow, configs.KinesisPermission{Actions: listed(text[:at]), Streams: listed(text[at+1:])})
	}
	return allow, nil
}

// listed returns what commas separate, nothing of nothing.
func listed(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// keyListCommand lists keys.
type keyListCommand struct{ target }

// Run implements the command.
func (c keyListCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	documents, err := cl.Documents(ctx, "", configs.KinesisKeyPrefix)
	if err != nil {
		return err
	}
	views := make([]accessKeyView, 0, len(documents))
	t := newTable("id", "name", "account", "tenant", "allow", "created")
	for _, d := range documents {
		key, err := configs.ParseKinesisKey(d.Name, d.Value)
		if err != nil {
			s.warn("key %s cannot be used: %v", strings.TrimPrefix(d.Name, configs.KinesisKeyPrefix), err)
			continue
		}
		v := viewAccessKey(key)
		views = append(views, v)
		t.add(v.ID, v.Name, v.Account, v.Tenant, v.allowed(), v.Created)
	}
	if c.json() {
		return printJSON(s.out, views)
	}
	return t.print(s.out)
}

// keyDeleteCommand deletes one key.
type keyDeleteCommand struct {
	target
	ID       string `arg:"" name:"id" help:"Id of the key."`
	IfExists bool   `help:"Do not fail if there is none."`
}

// Run implements the command.
func (c keyDeleteCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	return c.deleted(s, "key", c.ID, c.IfExists, deleteKey(ctx, cl, c.ID))
}

func deleteKey(ctx context.Context, cl *client.Client, id string) error {
	name := configs.KinesisKeyPrefix + id
	documents, err := cl.Documents(ctx, "", name)
	if err != nil {
		return err
	}
	for _, d := range documents {
		if d.Name == name {
			_, err := cl.PutDocument(ctx, "", name, nil, d.Version)
			return err
		}
	}
	return &client.Error{Kind: client.NotFound, Message: fmt.Sprintf("key %q does not exist", id)}
}

// accessKeyView is a key in JSON.
type accessKeyView struct {
	ID      string                      `json:"id"`
	Secret  string                      `json:"secret,omitempty"` // of one that was just made
	Name    string                      `json:"name"`
	Account string                      `json:"account,omitempty"`
	Tenant  string                      `json:"tenant,omitempty"`
	Allow   []configs.KinesisPermission `json:"allow"`
	Created string                      `json:"created"`
}

func viewAccessKey(k configs.KinesisKey) accessKeyView {
	return accessKeyView{ID: k.ID, Name: k.Name, Account: k.Account, Tenant: k.Tenant, Allow: k.Allow, Created: timeText(k.Created.UnixMilli())}
}

// allowed writes permissions as --allow takes them.
func (v accessKeyView) allowed() string {
	all := make([]string, len(v.Allow))
	for i, p := range v.Allow {
		all[i] = strings.Join(p.Actions, ",") + allowSeparator + strings.Join(p.Streams, ",")
	}
	return strings.Join(all, " ")
}

func printNewKey(w io.Writer, k configs.KinesisKey, asJSON bool) error {
	v := viewAccessKey(k)
	v.Secret = k.Secret.Reveal()
	if asJSON {
		return printJSON(w, v)
	}
	t := newTable()
	t.add("id", v.ID)
	t.add("secret", v.Secret)
	t.add("name", v.Name)
	t.add("account", v.Account)
	t.add("tenant", v.Tenant)
	t.add("allow", v.allowed())
	t.add("created", v.Created)
	return t.print(w)
}
