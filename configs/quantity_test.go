package configs

import (
	"net"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestByteSize(t *testing.T) {
	for _, tc := range []struct {
		text string
		want ByteSize
		bad  bool
	}{
		{"0", 0, false},
		{"17", 17, false},
		{"17B", 17, false},
		{"256MiB", 256 << 20, false},
		{"256 MiB", 256 << 20, false},
		{"1GB", 1e9, false},
		{"2kB", 2000, false},
		{"8388607TiB", 8388607 << 40, false},
		{"8388608TiB", 0, true},
		{"", 0, true},
		{"MiB", 0, true},
		{"-1", 0, true},
		{"1.5GiB", 0, true},
		{"10 parsecs", 0, true},
	} {
		got, err := ParseByteSize(tc.text)
		if got != tc.want || (err != nil) != tc.bad {
			t.Errorf("%q: got %d, %v; want %d, error %t", tc.text, got, err, tc.want, tc.bad)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, tc := range []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{"0s", 0, false},
		{"500ms", 500 * time.Millisecond, false},
		{"7d", 168 * time.Hour, false},
		{"1d12h", 36 * time.Hour, false},
		{"24h", 24 * time.Hour, false},
		{"d", 0, true},
		{"12", 0, true},
		{"-1s", 0, true},
		{"1d-1h", 0, true},
		{"", 0, true},
	} {
		got, err := ParseDuration(tc.text)
		if got.Std() != tc.want || (err != nil) != tc.bad {
			t.Errorf("%q: got %s, %v; want %s, error %t", tc.text, got, err, tc.want, tc.bad)
		}
	}
}

func TestQuantitiesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := ByteSize(rapid.Int64Min(0).Draw(t, "size"))
		if got, err := ParseByteSize(size.String()); err != nil || got != size {
			t.Fatalf("%d reads back from %s as %d, %v", int64(size), size, int64(got), err)
		}
		d := Duration(rapid.Int64Range(0, int64(60000*24*time.Hour)).Draw(t, "duration"))
		if got, err := ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("%d reads back from %s as %d, %v", int64(d), d, int64(got), err)
		}
	})
}

func TestAdvertiseAddress(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711}
	for _, tc := range []struct{ advertise, want string }{
		{"", "127.0.0.1:4711"},
		{"host.example:0", "host.example:4711"},
		{"host.example:99", "host.example:99"},
	} {
		if got, err := AdvertiseAddress(tc.advertise, bound); err != nil || got != tc.want {
			t.Errorf("%q: got %s, %v; want %s", tc.advertise, got, err, tc.want)
		}
	}
	got, err := AdvertiseAddress("", &net.TCPAddr{IP: net.IPv4zero, Port: 4711})
	if host, port, splitErr := net.SplitHostPort(got); err != nil || splitErr != nil || unspecified(host) || port != "4711" {
		t.Errorf("wildcard: got %s, %v", got, err)
	}
}
