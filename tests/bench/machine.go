package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine is where the figures come from.
type machine struct {
	Time       string `json:"time"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  int64  `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	Directory  string `json:"directory"`
	FileSystem string `json:"file_system"`
	Go         string `json:"go"`
	// LoadBefore is the load average of the minute before the run: above a few
	// tenths somebody else was at work and the figures are worth little.
	LoadBefore string `json:"load_before"`
}

func describeMachine(dir string) machine {
	m := machine{
		Time: time.Now().UTC().Format(time.RFC3339), Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		CPU: procField("/proc/cpuinfo", "model name"), Kernel: firstWords("/proc/sys/kernel/osrelease", 1),
		Directory: dir, FileSystem: fileSystem(dir), LoadBefore: firstWords("/proc/loadavg", 1),
	}
	kib, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.ParseInt(kib, 10, 64); err == nil {
		m.MemoryMiB = n >> 10
	}
	return m
}

// procField returns the value of the first "name : value" line, "unknown" without one.
func procField(path, name string) string {
	text, _ := os.ReadFile(path) // elsewhere than on Linux there is none
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstWords(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	words := bytes.Fields(text)
	return string(bytes.Join(words[:min(n, len(words))], []byte(" ")))
}

// fileSystem names the file system that holds dir, and its device: the mount
// with the longest mount point above dir.
func fileSystem(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	text, _ := os.ReadFile("/proc/self/mounts") // elsewhere than on Linux there is none
	best, found := "unknown", ""
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // device, mount point, type, options, …
		if len(f) < 4 || len(f[1]) < len(found) {
			continue
		}
		if f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/") {
			best, found = fmt.Sprintf("%s on %s (%s)", f[2], f[0], f[3]), f[1]
		}
	}
	return best
}

// memoryBacked reports whether what fileSystem returned never reaches a disk.
func memoryBacked(fs string) bool {
	return strings.HasPrefix(fs, "tmpfs") || strings.HasPrefix(fs, "ramfs")
}
