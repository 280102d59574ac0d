package kinesis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// policy is a resource policy as far as it is enforced: statements that allow or deny principals actions on the stream that has it. What it could not
// enforce, conditions and the Not… members, is refused when it is put.
type policy struct {
	Version   string      `json:"Version"`
	ID        string      `json:"Id"`
	Statement []statement `json:"Statement"`
}

type statement struct {
	Sid       string     `json:"Sid"`
	Effect    string     `json:"Effect"`
	Principal principals `json:"Principal"`
	Action    oneOrMany  `json:"Action"`
	Resource  oneOrMany  `json:"Resource"`
}

// oneOrMany is a text or a list of texts.
type oneOrMany []string

// UnmarshalJSON reads either form.
func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*o = []string{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// principals are ARNs and account numbers; "*" is everybody.
type principals []string

// UnmarshalJSON reads "*" and {"AWS": …}.
func (p *principals) UnmarshalJSON(data []byte) error {
	var all string
	if err := json.Unmarshal(data, &all); err == nil {
		if all != "*" {
			return fmt.Errorf("principal %q", all)
		}
		*p = []string{all}
		return nil
	}
	var named struct {
		AWS oneOrMany `json:"AWS"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&named); err != nil {
		return err
	}
	*p = principals(named.AWS)
	return nil
}

// The effects of a statement.
const (
	effectAllow = "Allow"
	effectDeny  = "Deny"
)

// parsePolicy reads a policy for the resource of that ARN.
func parsePolicy(text, resource string) (*policy, error) {
	p := new(policy)
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("the policy cannot be read, or says what is not enforced here: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the policy")
	}
	if p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return nil, fmt.Errorf("the policy's version %q is not known", p.Version)
	}
	if len(p.Statement) == 0 {
		return nil, errors.New("the policy has no statement")
	}
	for i, st := range p.Statement {
		switch {
		case st.Effect != effectAllow && st.Effect != effectDeny:
			return nil, fmt.Errorf("statement %d: the effect %q is neither Allow nor Deny", i+1, st.Effect)
		case len(st.Principal) == 0:
			return nil, fmt.Errorf("statement %d has no principal", i+1)
		case len(st.Action) == 0:
			return nil, fmt.Errorf("statement %d has no action", i+1)
		case !anyMatches(st.Resource, resource, ""):
			return nil, fmt.Errorf("statement %d is not about %s", i+1, resource)
		}
	}
	return p, nil
}

// policyVerdict is what a policy says about an action.
type policyVerdict uint8

const (
	policySilent policyVerdict = iota
	policyAllows
	policyDenies
)

// judge says whether the policy, nil for none, lets a caller do something. A statement that denies outweighs all others.
func (p *policy) judge(who caller, action string) policyVerdict {
	verdict := policySilent
	if p == nil {
		return verdict
	}
	names := []string{"*", who.principal(), who.key.Account, "arn:aws:iam::" + who.key.Account + ":root"}
	for _, st := range p.Statement {
		about := slices.ContainsFunc(st.Principal, func(name string) bool { return slices.Contains(names, name) })
		if !about || !anyMatches(st.Action, action, actionPrefix) {
			continue
		}
		if st.Effect == effectDeny {
			return policyDenies
		}
		verdict = policyAllows
	}
	return verdict
}

// policyOf returns the resource policy of a stream, nil if it has none.
func (s *Server) policyOf(ctx context.Context, stream string) (*policy, error) {
	known, err := s.known(ctx, stream)
	if err != nil || known.doc.Policy == "" {
		return nil, err
	}
	return parsePolicy(known.doc.Policy, s.streamARN(stream))
}
