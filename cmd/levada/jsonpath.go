package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonPath is a path into a JSON document: $.user.id, $.items[0], $["odd name"].
type jsonPath []pathStep

// pathStep is a member's name, or an index if it is an element.
type pathStep struct {
	name    string
	index   int
	element bool
}

// parseJSONPath reads a path. The "$" at its start may be left out.
func parseJSONPath(text string) (jsonPath, error) {
	var path jsonPath
	rest := strings.TrimPrefix(text, "$")
	if rest != "" && rest[0] != '.' && rest[0] != '[' {
		rest = "." + rest
	}
	for rest != "" {
		var step pathStep
		var err error
		if step, rest, err = nextStep(rest); err != nil {
			return nil, fmt.Errorf("JSON path %q: %w; write for example $.user.id or $.items[0]", text, err)
		}
		path = append(path, step)
	}
	if len(path) == 0 {
		return nil, fmt.Errorf("JSON path %q names no member; write for example $.user.id", text)
	}
	return path, nil
}

func nextStep(text string) (step pathStep, rest string, err error) {
	if text[0] == '.' {
		text = text[1:]
		end := strings.IndexAny(text, ".[")
		if end < 0 {
			end = len(text)
		}
		if end == 0 {
			return step, "", errors.New("empty name")
		}
		return pathStep{name: text[:end]}, text[end:], nil
	}
	if quoted := strings.TrimPrefix(text, "["); quoted != "" && quoted[0] == '"' {
		literal, err := strconv.QuotedPrefix(quoted)
		if err != nil || !strings.HasPrefix(quoted[len(literal):], "]") {
			return step, "", errors.New(`name in brackets must end with "]`)
		}
		name, err := strconv.Unquote(literal)
		return pathStep{name: name}, quoted[len(literal)+1:], err
	}
	inside, rest, ok := strings.Cut(text[1:], "]")
	index, err := strconv.ParseUint(inside, 10, 31)
	if text[0] != '[' || !ok || err != nil {
		return step, "", errors.New("brackets must hold an index or a quoted name")
	}
	return pathStep{index: int(index), element: true}, rest, nil
}

// errNoValue reports that a document does not have the value of a path.
var errNoValue = errors.New("no such member")

// find returns the text of the value at the path: a string's content, a
// number's or boolean's literal. The document must be one JSON value and nothing
// else, behind the value of the path too.
func (p jsonPath) find(document []byte) (string, error) {
	if !json.Valid(document) {
		var all json.RawMessage
		return "", fmt.Errorf("not JSON: %w", json.Unmarshal(document, &all))
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	for _, step := range p {
		if err := step.enter(decoder); err != nil {
			return "", err
		}
	}
	var value json.RawMessage
	if err := decoder.Decode(&value); err != nil {
		return "", fmt.Errorf("not JSON: %w", err)
	}
	switch value[0] {
	case '{', '[', 'n':
		return "", errors.New("value is no string, number or boolean")
	case '"':
		return unquoteJSON(value)
	}
	return string(value), nil
}

// unquoteJSON returns the text of a JSON string. It refuses what encoding/json
// replaces silently, by which different keys would become one: bytes that are no
// UTF-8 and halves of surrogate pairs.
func unquoteJSON(literal []byte) (string, error) {
	if !utf8.Valid(literal) {
		return "", errNotText
	}
	for rest := literal; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			break
		}
		first := escapedRune(rest[i:])
		rest = rest[i+2:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		rest = rest[4:]
		if utf16.DecodeRune(first, escapedRune(rest)) == utf8.RuneError {
			return "", fmt.Errorf("%w, not half of a surrogate pair (\\u%04x)", errNotText, first)
		}
		rest = rest[6:]
	}
	var text string
	err := json.Unmarshal(literal, &text)
	return text, err
}

// escapedRune returns the rune of the escape \u0000 to \uffff that valid JSON
// begins with, -1 if it begins with something else.
func escapedRune(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// enter moves the decoder to just before the value that the step names.
func (s pathStep) enter(decoder *json.Decoder) error {
	open := json.Delim('{')
	if s.element {
		open = '['
	}
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if token != open {
		return errNoValue
	}
	for i := 0; decoder.More(); i++ {
		found := s.element && i == s.index
		if !s.element {
			name, err := decoder.Token()
			if err != nil {
				return fmt.Errorf("not JSON: %w", err)
			}
			found = name == s.name
		}
		if found {
			return nil
		}
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
	}
	return errNoValue
}
