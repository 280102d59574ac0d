package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/levada-stream/levada/node"
)

// versionCommand prints what this binary is.
type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run(s *session) error {
	_, err := fmt.Fprintln(s.out, versionText())
	return err
}

func versionText() string {
	text := "levada " + node.Version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
				text += " " + setting.Value[:12]
			}
		}
	}
	return text + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
