package archtest

import (
	"go/ast"
	"slices"
	"testing"
)

// declaresSettings are the files that name every setting without acting on it.
var declaresSettings = []string{"configs/config.go", "configs/keys.go", "configs/validate.go"}

// TestSettingsAreUsed refuses a setting that nothing reads: who sets it would believe that it does something.
func TestSettingsAreUsed(t *testing.T) {
	read, declared := map[string]bool{}, map[string]source{}
	for _, s := range tree(t) {
		if s.test || s.generated {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if !slices.Contains(declaresSettings, s.path) {
					read[n.Sel.Name] = true
				}
			case *ast.StructType:
				if s.path != "configs/config.go" {
					break
				}
				for _, field := range n.Fields.List {
					for _, name := range field.Names {
						declared[name.Name] = s
					}
				}
			}
			return true
		})
	}
	if len(declared) < 40 {
		t.Fatalf("%d settings found", len(declared))
	}
	for name, s := range declared {
		if !read[name] {
			t.Errorf("%s: nothing reads the setting %s", s.path, name)
		}
	}
}
