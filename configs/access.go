package configs

import (
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// EnvName returns the environment variable of a key: "LEVADA_LISTEN_GRPC" for
// "listen.grpc". Only keys whose Env is set read it.
func (k Key) EnvName() string {
	return "LEVADA_" + strings.ToUpper(strings.ReplaceAll(k.Path, ".", "_"))
}

// field returns the settable field of c that a key's path names.
// Invariant: every path of keyTable names one; a test walks them all.
func field(c *Config, path string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		v = fieldByTag(v, name)
	}
	return v
}

func fieldByTag(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			return v.Field(i)
		}
	}
	panic("configs: no field for key " + name)
}

// Value returns the text of a setting as it stands in a file, a secret hidden.
// The path is one of Keys.
func (c Config) Value(path string) string { return yamlValue(field(&c, path), false) }

// yamlValue writes one setting as YAML on one line.
func yamlValue(v reflect.Value, reveal bool) string {
	switch x := v.Interface().(type) {
	case Secret:
		if reveal {
			return quote(x.Reveal())
		}
		return quote(x.String())
	case ByteSize:
		return x.String()
	case Duration:
		return x.String()
	case string:
		return quote(x)
	case bool:
		return strconv.FormatBool(x)
	case int:
		return strconv.Itoa(x)
	case []string:
		items := make([]string, len(x))
		for i, item := range x {
			items[i] = quote(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]string:
		items := make([]string, 0, len(x))
		for name, value := range x {
			items = append(items, quote(name)+": "+quote(value))
		}
		sort.Strings(items)
		return "{" + strings.Join(items, ", ") + "}"
	}
	panic("configs: no YAML form for " + v.Type().String())
}

// quote leaves plain words as they are and writes everything else as a
// double-quoted YAML string, for which Go's escapes of printable text serve.
func quote(text string) string {
	switch text {
	case "", "true", "false", "null", "yes", "no", "on", "off", "~":
		return strconv.Quote(text)
	}
	for i, r := range text {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789_-./", r)) {
			return strconv.Quote(text)
		}
	}
	return text
}
