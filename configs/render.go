package configs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// commentWidth is where comments in a rendered file wrap.
const commentWidth = 96

// RenderYAML writes c as a file that Parse reads back as the same value, every key
// above its value's documentation. Secrets are written out: keep the file private.
func RenderYAML(c Config) []byte {
	var out bytes.Buffer
	for _, s := range sectionDocs {
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		comment(&out, "", s.doc)
		if isTopLevel(s.name) {
			renderKey(&out, c, s.name, "")
			continue
		}
		fmt.Fprintf(&out, "%s:\n", s.name)
		for _, k := range keyTable {
			if strings.HasPrefix(k.Path, s.name+".") {
				renderKey(&out, c, k.Path, "  ")
			}
		}
	}
	return out.Bytes()
}

func isTopLevel(section string) bool {
	return slices.ContainsFunc(keyTable[:], func(k Key) bool { return k.Path == section })
}

func renderKey(out *bytes.Buffer, c Config, path, indent string) {
	i := slices.IndexFunc(keyTable[:], func(k Key) bool { return k.Path == path })
	k := keyTable[i]
	comment(out, indent, k.Doc+k.limitsText())
	name := path[strings.LastIndexByte(path, '.')+1:]
	fmt.Fprintf(out, "%s%s: %s\n", indent, name, yamlValue(field(&c, path), true))
}

// limitsText returns the limits and the variable of a key as sentences.
func (k Key) limitsText() string {
	var text string
	if len(k.OneOf) > 0 {
		text += " One of " + strings.Join(k.OneOf, ", ") + "."
	}
	if k.Min != 0 || k.Max != 0 {
		d := Defaults()
		v := field(&d, k.Path)
		text += fmt.Sprintf(" From %s to %s.", k.show(v, k.Min), k.show(v, k.Max))
	}
	if k.Env {
		text += " Environment: " + k.EnvName() + "."
	}
	return text
}

func comment(out *bytes.Buffer, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > commentWidth {
			out.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	if line != indent+"#" {
		out.WriteString(line + "\n")
	}
}

// RenderMarkdown writes the table of all keys for docs/configuration.md.
func RenderMarkdown() []byte {
	var out bytes.Buffer
	defaults := Defaults()
	for _, s := range sectionDocs {
		fmt.Fprintf(&out, "## %s\n\n", s.name)
		if s.doc != "" {
			fmt.Fprintf(&out, "%s\n\n", s.doc)
		}
		out.WriteString("| key | default | meaning |\n|---|---|---|\n")
		for _, k := range keyTable {
			if k.Path != s.name && !strings.HasPrefix(k.Path, s.name+".") {
				continue
			}
			fmt.Fprintf(&out, "| `%s` | `%s` | %s |\n", k.Path, yamlValue(field(&defaults, k.Path), false), k.Doc+k.limitsText())
		}
		out.WriteByte('\n')
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}
