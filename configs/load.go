package configs

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// LookupEnv finds an environment variable, as os.LookupEnv does.
type LookupEnv func(name string) (value string, ok bool)

// Load reads a configuration file, overrides it from the environment, reads
// the gossip key's file and validates the whole. With an empty path the file
// is empty. Errors name the file, and the line or key at fault.
func Load(path string, lookup LookupEnv) (Config, error) {
	var source []byte
	if path != "" {
		var err error
		if source, err = os.ReadFile(path); err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
	}
	return LoadSource(path, source, lookup)
}

// LoadSource is Load of a file that has been read already. name, which may be
// empty, stands for the file in errors.
func LoadSource(name string, source []byte, lookup LookupEnv) (Config, error) {
	c, err := Parse(source)
	if err == nil {
		err = c.ApplyEnv(lookup)
	}
	if err == nil {
		err = c.readSecretFile()
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil && name != "" {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}
	return c, err
}

// Parse reads YAML over the defaults. It refuses unknown and repeated keys and
// malformed values, showing the line; it neither applies the environment nor
// validates.
func Parse(source []byte) (c Config, err error) {
	// The library panics at some texts that are no configuration, a tag without a value among them.
	defer func() {
		if p := recover(); p != nil {
			c, err = Config{}, fmt.Errorf("this cannot be read as YAML (%v); write it plainly, without tags, anchors and aliases", p)
		}
	}()
	c = Defaults()
	file, err := parser.ParseBytes(source, 0)
	if err != nil {
		return Config{}, pointed(err)
	}
	documents := slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool { return isEmpty(d.Body) })
	switch len(documents) {
	case 0: // the decoder would clear the defaults
		return c, nil
	case 1:
	default:
		return Config{}, errors.New("more than one YAML document in the file")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(nil), yaml.Strict())
	if err := decoder.DecodeFromNode(documents[0].Body, &c); err != nil {
		return Config{}, pointed(err)
	}
	// A section that stands empty ("seeds:") decodes as nil; readers of Config see the empty value.
	if c.Seeds == nil {
		c.Seeds = []string{}
	}
	if c.Node.Roles == nil {
		c.Node.Roles = []string{}
	}
	if c.Node.Labels == nil {
		c.Node.Labels = map[string]string{}
	}
	return c, nil
}

// isEmpty reports whether a document says nothing: blank, only comments, or null.
func isEmpty(body ast.Node) bool {
	if body == nil {
		return true
	}
	return body.Type() == ast.NullType || body.Type() == ast.CommentType
}

// pointed turns the library's error into one that shows the place in the source.
func pointed(err error) error {
	return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
}

// ApplyEnv overrides the settings whose variable is set, even to nothing.
// Lists are separated by commas. Of the gossip key and its file, a variable of
// one takes the place of the other in the file.
func (c *Config) ApplyEnv(lookup LookupEnv) error {
	_, key := lookup("LEVADA_CLUSTER_SECRET_KEY")
	if _, file := lookup("LEVADA_CLUSTER_SECRET_KEY_FILE"); key != file {
		c.Cluster.SecretKey, c.Cluster.SecretKeyFile = "", ""
	}
	for _, k := range keyTable {
		if !k.Env {
			continue
		}
		text, ok := lookup(k.EnvName())
		if !ok {
			continue
		}
		if err := setText(field(c, k.Path), text); err != nil {
			return fmt.Errorf("environment variable %s: %w", k.EnvName(), err)
		}
	}
	return nil
}

// clientEnv are the variables that the command line's clients read.
var clientEnv = []string{"LEVADA_CONFIG", "LEVADA_ENDPOINT"}

// UnknownEnv returns the names in an environment, as os.Environ returns it, that begin
// like a variable of this program and are none: what they were to set is not set.
func UnknownEnv(environ []string) []string {
	known := slices.Clone(clientEnv)
	for _, k := range keyTable {
		if k.Env {
			known = append(known, k.EnvName())
		}
	}
	var unknown []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "LEVADA_") && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

func setText(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		v.SetBool(b)
	case []string:
		list := []string{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		v.Set(reflect.ValueOf(list))
	default:
		return fmt.Errorf("no text form for %s", v.Type())
	}
	return nil
}

func (c *Config) readSecretFile() error {
	if c.Cluster.SecretKeyFile == "" {
		return nil
	}
	if c.Cluster.SecretKey != "" {
		return errors.New("cluster.secret_key and cluster.secret_key_file are both set; keep one")
	}
	text, err := os.ReadFile(c.Cluster.SecretKeyFile)
	if err != nil {
		return fmt.Errorf("cluster.secret_key_file: %w", err)
	}
	c.Cluster.SecretKey = Secret(strings.TrimSpace(string(text)))
	if c.Cluster.SecretKey == "" {
		return fmt.Errorf("cluster.secret_key_file: %s is empty", c.Cluster.SecretKeyFile)
	}
	return nil
}
