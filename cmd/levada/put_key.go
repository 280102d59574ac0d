package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// keyer chooses the partition key of a line.
type keyer func(line []byte) (string, error)

// errNotText reports bytes that would not come back from a reader as they went in.
var errNotText = errors.New("a key must be UTF-8 text")

// keyCharsMax is the longest partition key, in characters.
const keyCharsMax = 256

// newKeyer returns the keyer that the flags ask for, at most one of which is
// given. A flag that is given and empty, as by an unset variable of a script,
// must not pass for none: the lines would lose their order.
func newKeyer(field, expression, constant *string) (keyer, error) {
	given := 0
	for _, flag := range []*string{field, expression, constant} {
		if flag != nil {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, usagef("--key-field, --key-regex and --key exclude each other")
	case field != nil:
		path, err := parseJSONPath(*field)
		if err != nil {
			return nil, usagef("--key-field: %w", err)
		}
		return checked(path.find), nil
	case expression != nil:
		if *expression == "" {
			return nil, usagef("--key-regex: the expression is empty; write for example '^(\\S+)', or leave the flag out for random keys")
		}
		re, err := regexp.Compile(*expression)
		if err != nil {
			return nil, usagef("--key-regex: %w", err)
		}
		return checked(func(line []byte) (string, error) { return firstGroup(re, line) }), nil
	case constant != nil:
		if err := checkKey(*constant); err != nil {
			return nil, usagef("--key: %w; leave the flag out for random keys", err)
		}
		return func([]byte) (string, error) { return *constant, nil }, nil
	}
	// No key asked for: spread the lines evenly.
	return func([]byte) (string, error) { return strconv.FormatUint(rand.Uint64(), 36), nil }, nil
}

func checked(find func(line []byte) (string, error)) keyer {
	return func(line []byte) (string, error) {
		key, err := find(line)
		if err == nil {
			err = checkKey(key)
		}
		if err != nil {
			return "", fmt.Errorf("no key: %w", err)
		}
		return key, nil
	}
}

// firstGroup returns the expression's first group, or its whole match if it has none.
func firstGroup(re *regexp.Regexp, line []byte) (string, error) {
	match := re.FindSubmatch(line)
	if match == nil {
		return "", errors.New("the expression does not match")
	}
	return string(match[min(1, len(match)-1)]), nil
}

func checkKey(key string) error {
	switch n := utf8.RuneCountInString(key); {
	case n == 0:
		return errors.New("a key must not be empty")
	case !utf8.ValidString(key):
		return errNotText
	case n > keyCharsMax:
		return fmt.Errorf("key of %d characters, the limit is %d", n, keyCharsMax)
	}
	return nil
}
