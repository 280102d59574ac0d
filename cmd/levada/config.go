package main

import (
	"fmt"
	"io"

	"github.com/levada-stream/levada/configs"
)

// configCommands work with configuration files.
type configCommands struct {
	Check         configCheckCommand `cmd:"" help:"Say what is wrong with a configuration file, the environment applied."`
	PrintDefaults configPrintCommand `cmd:"" name:"print-defaults" help:"Print a file of all defaults with every key explained."`
}

// configCheckCommand validates a file.
type configCheckCommand struct {
	File string `arg:"" help:"Configuration file, or - for standard input." type:"path"`
}

// Run implements the command.
func (c configCheckCommand) Run(s *session) error {
	cfg, err := c.load(s)
	if err != nil {
		return usageError{err}
	}
	if cfg.TLS.Enabled() {
		if _, err := cfg.TLS.LoadCertificates(nil); err != nil {
			return usageError{fmt.Errorf("%s: %w", c.File, err)}
		}
	}
	for _, warning := range append(cfg.Warnings(), unknownEnv(s.environ())...) {
		s.warn("warning: %s", warning)
	}
	_, err = fmt.Fprintf(s.out, "%s: valid\n", c.File)
	return err
}

func (c configCheckCommand) load(s *session) (configs.Config, error) {
	if c.File != "-" {
		return configs.Load(c.File, s.lookup)
	}
	source, err := io.ReadAll(s.in)
	if err != nil {
		return configs.Config{}, fmt.Errorf("read configuration from standard input: %w", err)
	}
	return configs.LoadSource("-", source, s.lookup)
}

// configPrintCommand prints the defaults.
type configPrintCommand struct{}

// Run implements the command.
func (configPrintCommand) Run(s *session) error {
	_, err := s.out.Write(configs.RenderYAML(configs.Defaults()))
	return err
}

// unknownEnv warns of variables that look like this program's and set nothing.
func unknownEnv(environ []string) []string {
	var warnings []string
	for _, name := range configs.UnknownEnv(environ) {
		warnings = append(warnings, fmt.Sprintf("environment variable %s is none of this program's and sets nothing; docs/configuration.md names them", name))
	}
	return warnings
}
