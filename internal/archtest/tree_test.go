package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// modulePath is the path of this module, with the slash that follows it in imports.
const modulePath = "github.com/levada-stream/levada/"

// source is one Go file of the tree.
type source struct {
	path      string // from the root, with slashes
	dir       string // "." for the root
	test      bool
	generated bool
	lines     int
	text      string
	file      *ast.File
	set       *token.FileSet
}

// imports returns the import paths, those of this module without its prefix and
// with own set.
func (s source) imports() (paths []string, own map[string]bool) {
	own = map[string]bool{}
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		short, ours := strings.CutPrefix(imported, modulePath)
		paths = append(paths, short)
		own[short] = ours
	}
	return paths, own
}

// position returns where a node stands, from the root of the tree.
func (s source) position(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

var readTree = sync.OnceValues(func() ([]source, error) {
	root := filepath.Join("..", "..")
	set := token.NewFileSet()
	var tree []source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata") {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && name != root {
				return fs.SkipDir // another module, with rules of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(relative)
		tree = append(tree, source{
			path: slashed, dir: path.Dir(slashed), test: strings.HasSuffix(slashed, "_test.go"), generated: ast.IsGenerated(file),
			lines: strings.Count(string(text), "\n"), text: string(text), file: file, set: set,
		})
		return nil
	})
	return tree, err
})

func tree(t *testing.T) []source {
	t.Helper()
	all, err := readTree()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: this test looks in the wrong place", len(all))
	}
	return all
}

// under reports whether a directory is dir or below it.
func under(directory, dir string) bool {
	return directory == dir || strings.HasPrefix(directory, dir+"/")
}
