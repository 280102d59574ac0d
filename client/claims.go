package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// ClaimRenewal is how often a claim is to be renewed, at least: one that is not for ten seconds is nobody's.
const ClaimRenewal = 2 * time.Second

// Claim is something of a shard that one of many has who want it at the same time, at any nodes. The shard's leader knows who, in memory.
type Claim struct {
	Stream string
	Shard  uint32
	Name   string // of what is claimed, up to 64 bytes
	Holder string // who claims it, up to 64 bytes; another for each claim
}

// TakeClaim takes a claim, from another holder if it has had it for as long as after. If it has not, wait is for how much longer.
func (c *Client) TakeClaim(ctx context.Context, one Claim, after time.Duration) (held bool, wait time.Duration, err error) {
	out, err := c.claim(ctx, one, &levadav1.ClaimRequest{TakeOverAfterMs: uint32(after.Milliseconds())})
	return out.GetHeld(), time.Duration(out.GetRetryAfterMs()) * time.Millisecond, err
}

// RenewClaim reports whether the holder of a claim, who took it so long ago, has it still, and no other has taken it over.
func (c *Client) RenewClaim(ctx context.Context, one Claim, age time.Duration) (held bool, err error) {
	out, err := c.claim(ctx, one, &levadav1.ClaimRequest{Renew: true, AgeMs: uint32(age.Milliseconds())})
	return out.GetHeld(), err
}

// ReleaseClaim ends a claim. It is no error that another has it.
func (c *Client) ReleaseClaim(ctx context.Context, one Claim) error {
	_, err := c.claim(ctx, one, &levadav1.ClaimRequest{Release: true})
	return err
}

func (c *Client) claim(ctx context.Context, one Claim, in *levadav1.ClaimRequest) (out *levadav1.ClaimResponse, err error) {
	in.Stream, in.Shard, in.Name, in.Holder = one.Stream, one.Shard, one.Name, one.Holder
	_, err = c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewStreamsClient(cc).Claim(ctx, in)
		return err
	})
	return out, err
}
