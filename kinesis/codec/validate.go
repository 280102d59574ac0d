package codec

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Rules are the constraints that tags name: regular expressions, written as the API's description has them and matched in full, and sets of values.
type Rules struct {
	patterns map[string]pattern
	enums    map[string][]string
}

type pattern struct {
	text string
	re   *regexp.Regexp
}

// NewRules returns rules with the patterns and enumerations by name. It panics on a pattern that is none.
func NewRules(patterns map[string]string, enums map[string][]string) *Rules {
	r := &Rules{patterns: map[string]pattern{}, enums: enums}
	for name, text := range patterns {
		r.patterns[name] = pattern{text: text, re: regexp.MustCompile(`\A(?:` + text + `)\z`)}
	}
	return r
}

// Validate holds the struct that in points to against the tags `is:"…"` of its fields and returns what is wrong, each worded as the original
// service does. A tag lists, separated by semicolons:
//
//	required       there is a value
//	len=MIN:MAX    length of a text, in UTF-16 units as the service counts, of binary data, of a slice or of a map
//	range=MIN:MAX  of a number; either may be missing
//	match=NAME     a pattern, for texts, also those in a slice
//	enum=NAME      a set of values, for texts, also those in a slice
//
// Elements of a slice, keys and values of a map may be bounded with item=MIN:MAX and key=MIN:MAX.
func (r *Rules) Validate(in any) []string {
	var found []string
	r.object("", reflect.ValueOf(in).Elem(), &found)
	return found
}

func (r *Rules) object(path string, v reflect.Value, found *[]string) {
	t := v.Type()
	for i := range v.NumField() {
		if t.Field(i).Anonymous {
			r.object(path, v.Field(i), found) // its members stand among the others
			continue
		}
		r.field(join(path, t.Field(i).Name), v.Field(i), t.Field(i).Tag.Get("is"), found)
	}
}

// join names a member as the service does in its messages.
func join(path, name string) string {
	// "StreamARN" is "streamARN", "S3DestinationConfiguration" is "s3DestinationConfiguration".
	first := []rune(name)
	first[0] = unicode.ToLower(first[0])
	if path == "" {
		return string(first)
	}
	return path + "." + string(first)
}

func (r *Rules) field(path string, v reflect.Value, tag string, found *[]string) {
	rules := map[string]string{}
	for rule := range strings.SplitSeq(tag, ";") {
		name, arg, _ := strings.Cut(rule, "=")
		rules[name] = arg
	}
	if absent(v) {
		if _, required := rules["required"]; required {
			*found = append(*found, violation("null", path, "not be null"))
		}
		return
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case v.Type() == timeType, v.Kind() == reflect.Bool:
	case v.Type() == bytesType:
		r.length(path, fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%d cap=%[1]d]", v.Len()), v.Len(), rules["len"], found)
	case v.Kind() == reflect.String:
		r.text(path, v.String(), rules, found)
	case v.Kind() == reflect.Int64:
		r.number(path, v.Int(), rules["range"], found)
	case v.Kind() == reflect.Slice:
		r.slice(path, v, rules, found)
	case v.Kind() == reflect.Map:
		r.table(path, v, rules, found)
	case v.Kind() == reflect.Struct:
		r.object(path, v, found)
	}
}

// violation words one. The value is shown as the service does, cut at a length that keeps a message readable.
func violation(value, path, must string) string {
	const shown = 256
	if len(value) > shown {
		value = strings.ToValidUTF8(value[:shown], "") + "…"
	}
	if value != "null" || must != "not be null" {
		value = "'" + value + "'"
	}
	return "Value " + value + " at '" + path + "' failed to satisfy constraint: Member must " + must
}

func bounds(arg string) (low, high int64, hasLow, hasHigh bool) {
	a, b, _ := strings.Cut(arg, ":")
	low, err1 := strconv.ParseInt(a, 10, 64)
	high, err2 := strconv.ParseInt(b, 10, 64)
	return low, high, err1 == nil, err2 == nil
}

func (r *Rules) length(path, value string, n int, arg string, found *[]string) {
	low, high, hasLow, hasHigh := bounds(arg)
	if hasLow && int64(n) < low {
		*found = append(*found, violation(value, path, fmt.Sprintf("have length greater than or equal to %d", low)))
	}
	if hasHigh && int64(n) > high {
		*found = append(*found, violation(value, path, fmt.Sprintf("have length less than or equal to %d", high)))
	}
}

func (r *Rules) number(path string, n int64, arg string, found *[]string) {
	low, high, hasLow, hasHigh := bounds(arg)
	if hasLow && n < low {
		*found = append(*found, violation(strconv.FormatInt(n, 10), path, fmt.Sprintf("have value greater than or equal to %d", low)))
	}
	if hasHigh && n > high {
		*found = append(*found, violation(strconv.FormatInt(n, 10), path, fmt.Sprintf("have value less than or equal to %d", high)))
	}
}

func (r *Rules) text(path, s string, rules map[string]string, found *[]string) {
	if arg, ok := rules["len"]; ok {
		r.length(path, s, units(s), arg, found)
	}
	if name, ok := rules["match"]; ok {
		if p := r.patterns[name]; !p.re.MatchString(s) {
			*found = append(*found, violation(s, path, "satisfy regular expression pattern: "+p.text))
		}
	}
	if name, ok := rules["enum"]; ok && !slices.Contains(r.enums[name], s) {
		*found = append(*found, violation(s, path, "satisfy enum value set: ["+strings.Join(r.enums[name], ", ")+"]"))
	}
}

// units counts a text as the service does.
func units(s string) (n int) {
	for _, c := range s {
		n += max(1, utf16.RuneLen(c))
	}
	return n
}

func (r *Rules) slice(path string, v reflect.Value, rules map[string]string, found *[]string) {
	if arg, ok := rules["len"]; ok {
		r.length(path, fmt.Sprintf("[%d elements]", v.Len()), v.Len(), arg, found)
	}
	inner := map[string]string{}
	for name, arg := range rules {
		switch name {
		case "match", "enum":
			inner[name] = arg
		case "item":
			inner["len"] = arg
		}
	}
	for i := range v.Len() {
		at := fmt.Sprintf("%s.%d.member", path, i+1)
		switch e := v.Index(i); e.Kind() {
		case reflect.Struct:
			r.object(at, e, found)
		case reflect.String:
			r.text(at, e.String(), inner, found)
		}
	}
}

func (r *Rules) table(path string, v reflect.Value, rules map[string]string, found *[]string) {
	if arg, ok := rules["len"]; ok {
		r.length(path, fmt.Sprintf("{%d entries}", v.Len()), v.Len(), arg, found)
	}
	names := v.MapKeys()
	slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, name := range names {
		r.length(path+"."+name.String()+".key", name.String(), units(name.String()), rules["key"], found)
		value := v.MapIndex(name).String()
		r.length(path+"."+name.String()+".member", value, units(value), rules["item"], found)
	}
}
