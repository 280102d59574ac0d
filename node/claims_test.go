package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
)

func TestClaims(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	c, key := newClaims(), bucketKey{1, "reader"}
	take := func(ms int, holder string, want time.Duration) {
		t.Helper()
		if held, wait := c.take(key, holder, 5*time.Second, at(ms)); held != (want == 0) || wait != want {
			t.Errorf("at %d ms %s has it: %v, after %v", ms, holder, held, wait)
		}
	}
	renewOf := func(ms, age int, holder string, want bool) {
		t.Helper()
		if got := c.renew(key, holder, time.Duration(age)*time.Millisecond, at(ms)); got != want {
			t.Errorf("at %d ms %s has it still: %v", ms, holder, got)
		}
	}
	renew := func(ms int, holder string, want bool) { t.Helper(); renewOf(ms, 60_000, holder, want) }
	take(0, "a", 0)
	take(1000, "b", 4*time.Second)
	renew(4000, "a", true)
	take(4999, "b", time.Millisecond) // renewed or not
	take(5000, "b", 0)
	renew(6000, "a", false)
	c.release(key, "a")
	renew(6000, "b", true)
	take(6500, "a", 3500*time.Millisecond)
	c.release(key, "b")
	take(6500, "a", 0)
	take(6600, "a", 0)            // the same call again, whose answer was lost
	renew(6600+10_000, "b", true) // a's has lapsed
	take(16_700, "c", 0)          // since when b had it is not known: long ago
	c = newClaims()               // another leader
	renew(16_800, "c", true)
	take(16_900, "d", 0)
	c = newClaims() // and another: c, who was taken over from by d, is first to be heard
	renewOf(17_000, 60_100, "c", true)
	renewOf(17_100, 200, "d", true)
	renewOf(17_200, 60_300, "c", false)
	renewOf(17_300, 400, "d", true)
	take(17_400, "e", 4500*time.Millisecond)
	if held, _ := c.take(bucketKey{2, "reader"}, "x", time.Second, at(0)); !held {
		t.Error("another shard's claim is taken")
	}
}

// TestClaimsEndWithTheLeader: a node that leads again must not refuse who has a claim since.
func TestClaimsEndWithTheLeader(t *testing.T) {
	c, now := newClaims(), time.Unix(1, 0)
	c.take(claimKey(1, 4, "reader"), "a", time.Second, now) // b takes it over at the next leader
	if !c.renew(claimKey(1, 6, "reader"), "b", time.Second, now) || c.renew(claimKey(1, 6, "reader"), "a", time.Minute, now) {
		t.Error("what was known in another term counts")
	}
	if claimKey(1, 11, "1 x") == claimKey(1, 1, "11 x") || claimKey(1, 1, "x") == claimKey(2, 1, "x") {
		t.Error("two claims have one key")
	}
}

func TestClaimsAreBounded(t *testing.T) {
	c, now := newClaims(), time.Unix(1, 0)
	for i := range claimsMax + 10 {
		c.take(bucketKey{1, fmt.Sprint(i)}, "h", 0, now)
	}
	if len(c.all) > claimsMax {
		t.Errorf("%d claims", len(c.all))
	}
}

func TestBadClaimsAreRefused(t *testing.T) {
	sound := func() *pb.ClaimRequest { return &pb.ClaimRequest{Name: "a", Holder: "b", TakeOverAfterMs: 5000} }
	if err := checkClaim(sound()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*pb.ClaimRequest){
		"no name":     func(r *pb.ClaimRequest) { r.Name = "" },
		"long name":   func(r *pb.ClaimRequest) { r.Name = strings.Repeat("x", claimTextMax+1) },
		"no holder":   func(r *pb.ClaimRequest) { r.Holder = "" },
		"long holder": func(r *pb.ClaimRequest) { r.Holder = strings.Repeat("x", claimTextMax+1) },
		"patience":    func(r *pb.ClaimRequest) { r.TakeOverAfterMs = takeOverMsMax + 1 },
		"both":        func(r *pb.ClaimRequest) { r.Renew, r.Release = true, true },
	} {
		r := sound()
		change(r)
		if checkClaim(r) == nil {
			t.Errorf("%s: %v is taken", name, r)
		}
	}
}
