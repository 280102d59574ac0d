package archtest

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

const (
	fileLinesMax     = 500
	testLinesMax     = 1000
	functionLinesMax = 70
)

// longFunctions are allowed to be longer, each for its reason. The key is
// "path function".
var longFunctions = map[string]string{}

func TestSizes(t *testing.T) {
	used := map[string]bool{}
	for _, s := range tree(t) {
		if s.generated {
			continue
		}
		limit := fileLinesMax
		if s.test {
			limit = testLinesMax
		}
		if s.lines > limit {
			t.Errorf("%s has %d lines, the limit is %d: it holds more than one thing", s.path, s.lines, limit)
		}
		for _, declaration := range s.file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Body == nil || s.test {
				continue
			}
			lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
			if lines <= functionLinesMax {
				continue
			}
			name := s.path + " " + f.Name.Name
			if longFunctions[name] == "" {
				t.Errorf("%s: %s has %d lines, the limit is %d", s.position(f), f.Name.Name, lines, functionLinesMax)
			}
			used[name] = true
		}
	}
	for name := range longFunctions {
		if !used[name] {
			t.Errorf("%s is listed as long, but is not", name)
		}
	}
}

func TestPackageDocs(t *testing.T) {
	docs := map[string]string{}
	for _, s := range tree(t) {
		if s.test {
			continue
		}
		if _, seen := docs[s.dir]; !seen {
			docs[s.dir] = ""
		}
		if s.file.Doc != nil && !s.generated {
			if docs[s.dir] != "" {
				t.Errorf("%s: the package is documented in another file already", s.path)
			}
			docs[s.dir] = s.file.Doc.Text()
		}
	}
	for dir, text := range docs {
		if len(text) < 80 {
			t.Errorf("%s: package documentation %q does not say what the package guarantees", dir, text)
		}
	}
}

func TestExportedDocs(t *testing.T) {
	for _, s := range tree(t) {
		if s.generated || s.test {
			continue
		}
		for _, declaration := range s.file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && receiverExported(d) {
					t.Errorf("%s: %s is exported and not documented", s.position(d), d.Name.Name)
				}
			case *ast.GenDecl:
				undocumentedSpecs(t, s, d)
			}
		}
	}
}

// undocumentedSpecs checks types, constants and variables; the comment of a
// group serves its members.
func undocumentedSpecs(t *testing.T, s source, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch x := spec.(type) {
		case *ast.TypeSpec:
			if x.Name.IsExported() && d.Doc == nil && x.Doc == nil {
				t.Errorf("%s: %s is exported and not documented", s.position(x), x.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range x.Names {
				if name.IsExported() && d.Doc == nil && x.Doc == nil && x.Comment == nil {
					t.Errorf("%s: %s is exported and not documented", s.position(x), name.Name)
				}
			}
		}
	}
}

// receiverExported reports whether a function is a plain one or a method of an exported type.
func receiverExported(f *ast.FuncDecl) bool {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return true
	}
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	name, ok := receiver.(*ast.Ident)
	return ok && name.IsExported()
}

// TestNoSleep keeps real time out of unit tests: they wait for events, or run
// in testing/synctest, where a sleep costs nothing and always suffices.
func TestNoSleep(t *testing.T) {
	fake := map[string]bool{} // directories whose tests run in fake time
	for _, s := range tree(t) {
		if _, own := s.imports(); s.test && hasKey(own, "testing/synctest") {
			fake[s.dir] = true
		}
	}
	for _, s := range tree(t) {
		if !s.test || under(s.dir, "tests") || fake[s.dir] {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "Sleep" {
				if name, ok := selector.X.(*ast.Ident); ok && name.Name == "time" {
					t.Errorf("%s: time.Sleep in a unit test; wait for an event, or use testing/synctest", s.position(n))
				}
			}
			return true
		})
	}
}

func hasKey(m map[string]bool, key string) bool { _, ok := m[key]; return ok }

// TestNoContextInStructs keeps contexts in calls. A struct that keeps one hides
// whose patience ends its work.
func TestNoContextInStructs(t *testing.T) {
	for _, s := range tree(t) {
		if s.generated || s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			structure, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range structure.Fields.List {
				if selector, ok := field.Type.(*ast.SelectorExpr); ok && selector.Sel.Name == "Context" {
					if name, ok := selector.X.(*ast.Ident); ok && name.Name == "context" && contextFields[s.path] == "" {
						t.Errorf("%s: a context in a struct; pass it to the calls", s.position(field))
					}
				}
			}
			return true
		})
	}
}

// contextFields lists the files whose structs may keep a context, with the reason.
var contextFields = map[string]string{
	"kinesis/server.go":    "the life of the server: parent of what is pushed until it ends",
	"partition/replica.go": "the replica's own life: it bounds work that no call waits for",
	"raftfsm/session.go":   "the life of a connection: parent of the calls served on it",
	"raftfsm/transport.go": "the life of the transport: parent of its dials and served calls",
}

// TestNoInit keeps effects out of package initialisation.
func TestNoInit(t *testing.T) {
	for _, s := range tree(t) {
		if s.generated {
			continue
		}
		for _, declaration := range s.file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init runs behind the reader's back; do it where it is needed", s.position(f))
			}
		}
	}
}

// unfinished marks work left undone. The mark is written in two parts so that this file has none.
var unfinished = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}

func TestNothingLeftUndone(t *testing.T) {
	for _, s := range tree(t) {
		if s.generated {
			continue
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				for _, mark := range unfinished {
					if strings.Contains(c.Text, mark) {
						t.Errorf("%s: %q: do it, or file it", s.position(c), strings.TrimSpace(c.Text))
					}
				}
			}
		}
	}
}

// TestStandsAlone keeps references to what is not in this repository out of it.
func TestStandsAlone(t *testing.T) {
	outside := "../" + "shared"
	for _, s := range tree(t) {
		if strings.Contains(s.text, outside) {
			t.Errorf("%s speaks of %s, which readers of this repository do not have", s.path, outside)
		}
	}
}

// TestTreeIsRead is the check on the checks: the tree holds functions at
// all, so an inspection that finds nothing wrong has looked at something.
func TestTreeIsRead(t *testing.T) {
	functions, tests := 0, 0
	for _, s := range tree(t) {
		for _, declaration := range s.file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			functions++
			if s.test && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && token.IsExported(f.Name.Name) {
				tests++
			}
		}
	}
	if functions < 100 || tests < 50 {
		t.Errorf("only %d functions and %d tests found", functions, tests)
	}
}
