//go:build !linux

package main

import "errors"

var errLinuxOnly = errors.New("this row needs Linux")

func dropCached([]string) error { return errLinuxOnly }

func rawRead([]string, int) (float64, error) { return 0, errLinuxOnly }
