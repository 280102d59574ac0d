package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of CPU times in /proc: USER_HZ, which is 100 on every
// Linux platform that Go runs on.
const clockTick = 10 * time.Millisecond

// memory is what a process occupies, in bytes.
type memory struct {
	resident  int64 // VmRSS
	anonymous int64 // RssAnon: without the pages of the binary and other files
	peak      int64 // VmHWM
}

func (m memory) plus(o memory) memory {
	return memory{m.resident + o.resident, m.anonymous + o.anonymous, m.peak + o.peak}
}

// cpuTime returns the CPU time a process has used, in user and kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything: count fields after it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is short: %q", pid, text)
	}
	ticks := int64(0)
	for _, f := range fields[11:13] { // utime and stime, fields 14 and 15 of the line
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// cpuOf sums the CPU times of processes.
func cpuOf(all []*process) (time.Duration, error) {
	var sum time.Duration
	for _, p := range all {
		t, err := cpuTime(p.pid())
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// ownCPU returns the CPU time of this process: the load generator.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func memoryOf(p *process) (memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	if err != nil {
		return memory{}, err
	}
	var m memory
	targets := map[string]*int64{"VmRSS:": &m.resident, "RssAnon:": &m.anonymous, "VmHWM:": &m.peak}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || targets[f[0]] == nil {
			continue
		}
		kib, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return m, fmt.Errorf("%s of %s: %w", f[0], p.name, err)
		}
		*targets[f[0]] = kib << 10
	}
	return m, nil
}

// resetPeaks makes the peaks start at what is occupied now. Where the kernel does
// not allow it they stay those since the start.
func resetPeaks(all []*process) {
	for _, p := range all {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid()), []byte("5"), 0) // the comment above says what failure means
	}
}

// peaks returns the largest peak of one process and the sum of all.
func peaks(all []*process) (largest, sum int64, _ error) {
	for _, p := range all {
		m, err := memoryOf(p)
		if err != nil {
			return 0, 0, err
		}
		largest, sum = max(largest, m.peak), sum+m.peak
	}
	return largest, sum, nil
}

// gauge reads one value without labels from a metrics page.
func gauge(page []byte, name string) (float64, error) {
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// fetch gets a page over HTTP.
func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // its server is about to end
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return body, nil
}
