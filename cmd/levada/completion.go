package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand prints a script that completes commands in a shell.
type completionCommand struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
}

// Each script asks the binary itself for the words that fit, so that it never
// goes stale: the one that is being typed, which need not be on the PATH. Shells
// that are given ./levada use the completion of levada.
const (
	bashCompletion = `# Load with: source <(levada completion bash)
_levada() {
  local IFS=$'\n' self="${1/#~\//$HOME/}"
  COMPREPLY=($("$self" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _levada levada ./levada
`
	zshCompletion = `#compdef levada
# Load with: source <(levada completion zsh)
_levada() {
  local -a found
  found=("${(@f)$(${~words[1]} __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  [[ -n "$found" ]] && compadd -- $found || _files
}
compdef _levada levada ./levada
`
	fishCompletion = `# Load with: levada completion fish | source
function __levada_complete
  set -l words (commandline -opc)
  eval $words[1] __complete -- (string escape -- $words[2..] (commandline -ct)) 2>/dev/null
end
complete -c levada -a '(__levada_complete)'
`
)

// Run implements the command.
func (c completionCommand) Run(s *session) error {
	scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	_, err := io.WriteString(s.out, scripts[c.Shell])
	return err
}

// completeCommand answers the completion scripts.
type completeCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run implements the command.
func (c completeCommand) Run(s *session, app *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, found := range completions(app.Model.Node, words) {
		if _, err := fmt.Fprintln(s.out, found); err != nil {
			return err
		}
	}
	return nil
}

// completions returns the words that may stand in place of the last of words.
func completions(root *kong.Node, words []string) []string {
	last := ""
	if n := len(words); n > 0 {
		last, words = words[n-1], words[:n-1]
	}
	node := root
	for _, word := range words {
		for _, child := range node.Children {
			if child.Name == word {
				node = child
				break
			}
		}
	}
	var found []string
	offer := func(word string) {
		if strings.HasPrefix(word, last) {
			found = append(found, word)
		}
	}
	if strings.HasPrefix(last, "-") {
		for _, group := range node.AllFlags(true) {
			for _, flag := range group {
				offer("--" + flag.Name)
			}
		}
	} else {
		for _, child := range node.Children {
			if !child.Hidden {
				offer(child.Name)
			}
		}
		for _, positional := range node.Positional {
			for _, value := range positional.EnumSlice() {
				offer(value)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
