package main

import "flag"

type soakOptions struct{}

func (o *soakOptions) flags(*flag.FlagSet) {}
func (o *soakOptions) validate() error     { return nil }
