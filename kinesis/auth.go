package kinesis

import (
	"context"
	"errors"
	"strings"

	"github.com/levada-stream/levada/kinesis/sigv4"
)

// Key is an access key: what a program signs its requests with.
type Key struct {
	ID, Secret string
	// Token is what comes with a temporary key, "" for none.
	Token string
	// Name is the user's, for policies and logs. Account is the twelve-digit number of the user's account, Tenant a label.
	Name, Account, Tenant string
	// Allow is what the key may do. Nil: nothing.
	Allow []Permission
}

// Permission allows actions on streams. Both are lists of patterns in which * stands for any characters: actions such as "GetRecords", "Get*" or
// "kinesis:Put*", streams by their names. What is about no stream, or about all, needs a permission with the stream "*".
type Permission struct {
	Actions, Streams []string
}

// caller is who sends a request.
type caller struct {
	anonymous bool // everybody may do everything
	key       Key
}

// principal is the caller's ARN.
func (c caller) principal() string { return "arn:aws:iam::" + c.key.Account + ":user/" + c.key.Name }

// authenticate finds out who sends a request, by its signature.
func (s *Server) authenticate(c *call) (caller, error) {
	if s.opts.Anonymous {
		return caller{anonymous: true}, nil
	}
	request := sigv4.FromHTTP(c.r, c.body)
	credential, err := sigv4.Parse(request)
	if err != nil {
		return caller{}, err
	}
	key, ok, err := s.opts.Keys(credential.AccessKeyID)
	switch {
	case err != nil:
		return caller{}, unavailable("%s", err.Error()) // a client tries that again, but gives up on the other
	case !ok:
		return caller{}, sigv4.UnknownKey()
	}
	if err := s.verifier.Verify(request, credential, key.Secret, key.Token); err != nil {
		return caller{}, err
	}
	return caller{key: key}, nil
}

// authorize refuses an action that the caller may not do. Streams are the cluster's account's: callers of others reach one only if its resource policy lets
// them, and need the permission of their own key as well.
func (s *Server) authorize(ctx context.Context, who caller, action, stream string) error {
	if who.anonymous {
		return nil
	}
	resource := "*"
	if stream != "" {
		resource = s.streamARN(stream)
	}
	if !who.key.permits(action, stream) {
		return denied(who, action, resource, " because no identity-based policy allows the "+actionPrefix+action+" action")
	}
	foreign := who.key.Account != s.opts.Account
	unasked := denied(who, action, resource, " because no resource-based policy allows the "+actionPrefix+action+" action")
	if stream == "" {
		if foreign {
			return unasked
		}
		return nil
	}
	policy, err := s.policyOf(ctx, stream)
	if err != nil {
		if foreign {
			return unasked // whether there is such a stream is none of its business
		}
		if e := (*apiError)(nil); errors.As(err, &e) && e.code == codeResourceNotFound {
			return nil // a stream that is not there has no policy; the operation says what that means
		}
		return err
	}
	switch verdict := policy.judge(who, action); {
	case verdict == policyDenies:
		return denied(who, action, resource, " with an explicit deny in a resource-based policy")
	case foreign && verdict != policyAllows:
		return unasked
	}
	return nil
}

// denied is the error for a caller who may not do something.
func denied(who caller, action, resource, why string) *apiError {
	return fail(codeAccessDenied, "User: %s is not authorized to perform: %s%s on resource: %s%s", who.principal(), actionPrefix, action, resource, why)
}

// permits reports whether a permission of the key covers an action on a stream, "" for all of them.
func (k Key) permits(action, stream string) bool {
	if stream == "" {
		stream = "*"
	}
	for _, p := range k.Allow {
		if anyMatches(p.Actions, action, actionPrefix) && anyMatches(p.Streams, stream, "") {
			return true
		}
	}
	return false
}

// actionPrefix stands before an action in policies.
const actionPrefix = "kinesis:"

// anyMatches reports whether one of the patterns, with or without a prefix before it, fits a text.
func anyMatches(patterns []string, text, prefix string) bool {
	for _, p := range patterns {
		if matches(strings.TrimPrefix(p, prefix), text) {
			return true
		}
	}
	return false
}

// matches reports whether a text fits a pattern in which * stands for any characters and ? for one. It takes time in proportion
// to the product of their lengths at most.
func matches(pattern, text string) bool {
	p, t := 0, 0
	star, mark := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0: // let the last star take one more
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
