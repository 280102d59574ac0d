package vfs

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestDirectIOChoice(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	made, err := OS().Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	open := func(d DirectIO) (bool, error) {
		f, direct, err := OSDirect(d).OpenDirect(name)
		if err == nil {
			err = f.Close()
		}
		return direct, err
	}
	can, err := open(DirectAuto)
	if err != nil {
		t.Fatal(err)
	}
	if direct, err := open(DirectOff); direct || err != nil {
		t.Errorf("off: %t, %v", direct, err)
	}
	if direct, err := open(DirectOn); direct != can || errors.Is(err, ErrNoDirectIO) == can {
		t.Errorf("on, where the file system can %t: %t, %v", can, direct, err)
	}
}
