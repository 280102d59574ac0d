package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/levada-stream/levada/internal/fault"
)

const (
	errorFixedSize = 32
	errorBodyMax   = 16 << 10
	// errorTextMax bounds each text of an error, so that it fits its frame.
	errorTextMax       = 3 << 10
	errorSuccessorsMax = 256
)

// encodeFault encodes an error so that its kind and fields survive the wire.
func encodeFault(dst []byte, err error) []byte {
	f := fault.As(err)
	if f == nil {
		f = &fault.Error{Kind: fault.Internal}
	}
	message := clip(err.Error())
	field, node, addr := clip(f.Field), clip(f.LeaderNode), clip(f.LeaderAddr)
	successors := f.Successors[:min(len(f.Successors), errorSuccessorsMax)]
	le := binary.LittleEndian
	dst = append(dst, byte(f.Kind), 0, 0, 0)
	dst = le.AppendUint16(dst, uint16(len(message)))
	dst = le.AppendUint16(dst, uint16(len(field)))
	dst = le.AppendUint16(dst, uint16(len(node)))
	dst = le.AppendUint16(dst, uint16(len(addr)))
	dst = le.AppendUint32(dst, uint32(len(successors)))
	dst = le.AppendUint64(dst, f.Limit)
	dst = le.AppendUint64(dst, uint64(f.RetryAfter))
	dst = append(dst, message...)
	dst = append(dst, field...)
	dst = append(dst, node...)
	dst = append(dst, addr...)
	for _, s := range successors {
		dst = le.AppendUint32(dst, s)
	}
	return dst
}

// decodeFault decodes what encodeFault made. ok is false if body is not that.
func decodeFault(body []byte) (f *fault.Error, err error) {
	if len(body) < errorFixedSize {
		return nil, fmt.Errorf("%w: error of %d bytes", ErrFrame, len(body))
	}
	le := binary.LittleEndian
	lengths := [4]int{int(le.Uint16(body[4:])), int(le.Uint16(body[6:])), int(le.Uint16(body[8:])), int(le.Uint16(body[10:]))}
	successors := int(le.Uint32(body[12:]))
	rest := body[errorFixedSize:]
	total := lengths[0] + lengths[1] + lengths[2] + lengths[3]
	if successors > errorSuccessorsMax || total+4*successors != len(rest) {
		return nil, fmt.Errorf("%w: error of %d bytes does not add up", ErrFrame, len(body))
	}
	var texts [4]string
	for i, n := range lengths {
		texts[i], rest = string(rest[:n]), rest[n:]
	}
	f = &fault.Error{
		Kind: fault.Kind(body[0]), Limit: le.Uint64(body[16:]), RetryAfter: time.Duration(le.Uint64(body[24:])),
		Message: texts[0], Field: texts[1], LeaderNode: texts[2], LeaderAddr: texts[3],
	}
	if f.Kind > fault.LimitReached {
		f.Kind = fault.Internal // a kind of a newer version
	}
	for i := range successors {
		f.Successors = append(f.Successors, le.Uint32(rest[4*i:]))
	}
	return f, nil
}

func clip(s string) string { return s[:min(len(s), errorTextMax)] }

// remoteError is an error that a peer's Raft library answered with. The library compares texts, so it is kept verbatim.
func remoteError(body []byte) error {
	f, err := decodeFault(body)
	if err != nil {
		return err
	}
	if f.Kind == fault.Internal {
		return errors.New(f.Message)
	}
	return f
}
