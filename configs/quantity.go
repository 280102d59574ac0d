package configs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// ByteSize is a number of bytes, written as "256MiB", "10MB" or a plain integer.
type ByteSize int64

// The binary units of ByteSize.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
	TiB ByteSize = 1 << 40
)

// byteUnits lists the suffixes, binary ones first and largest first, so that
// String finds the one it prints by going down the list.
var byteUnits = [...]struct {
	suffix string
	size   ByteSize
}{
	{"TiB", TiB},
	{"GiB", GiB},
	{"MiB", MiB},
	{"KiB", KiB},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"KB", 1e3},
	{"B", 1},
}

// ParseByteSize reads a size: a non-negative integer with an optional unit
// (B, kB, MB, GB, TB in powers of 1000; KiB, MiB, GiB, TiB in powers of 1024).
func ParseByteSize(text string) (ByteSize, error) {
	number, unit := strings.TrimSpace(text), ByteSize(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size: write an integer with a unit, for example 256MiB", text)
	}
	if n > uint64(1<<63-1)/uint64(unit) {
		return 0, fmt.Errorf("size %q is too large", text)
	}
	return ByteSize(n) * unit, nil
}

// String returns the size in its largest exact binary unit.
func (s ByteSize) String() string {
	if s > 0 {
		for _, u := range byteUnits[:4] {
			if s%u.size == 0 {
				return strconv.FormatInt(int64(s/u.size), 10) + u.suffix
			}
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// UnmarshalText reads the form that ParseByteSize documents.
func (s *ByteSize) UnmarshalText(text []byte) error {
	v, err := ParseByteSize(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// MarshalText returns String.
func (s ByteSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalYAML reads the same form from a file. The error names the key and the place.
func (s *ByteSize) UnmarshalYAML(node ast.Node) error { return decodeQuantity(node, s.UnmarshalText) }

// Duration is a length of time, written as "500ms", "24h", "7d" or "1d12h".
type Duration time.Duration

// ParseDuration reads what time.ParseDuration does, and whole days before it as "7d".
func ParseDuration(text string) (Duration, error) {
	rest, days := strings.TrimSpace(text), time.Duration(0)
	if number, after, ok := strings.Cut(rest, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration: write for example 500ms, 24h or 7d", text)
		}
		days, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			return Duration(days), nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < days {
		return 0, fmt.Errorf("%q is not a duration: write for example 500ms, 24h or 7d", text)
	}
	return Duration(days + d), nil
}

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d with whole days as "7d" and without zero units: "24h", not "24h0m0s".
func (d Duration) String() string {
	const day = 24 * time.Hour
	std := time.Duration(d)
	if std >= 2*day && std%day == 0 {
		return strconv.FormatInt(int64(std/day), 10) + "d"
	}
	text := std.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// UnmarshalText reads the form that ParseDuration documents.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalYAML reads the same form from a file. The error names the key and the place.
func (d *Duration) UnmarshalYAML(node ast.Node) error { return decodeQuantity(node, d.UnmarshalText) }

// decodeQuantity hands the text of a YAML scalar to read. Its error carries the
// node's place, which the library knows only of errors of its own.
func decodeQuantity(node ast.Node, read func([]byte) error) error {
	var text string
	var err error
	if yaml.NodeToValue(node, &text) != nil {
		err = errors.New("must be one value, not a list or a section")
	} else if err = read([]byte(text)); err == nil {
		return nil
	}
	key := strings.TrimPrefix(node.GetPath(), "$.")
	return &yaml.SyntaxError{Message: key + ": " + err.Error(), Token: node.GetToken()}
}

// Secret is text that must not reach a log: every way of formatting it shows asterisks.
type Secret string

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "******"
}

// GoString hides the text.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }
