// Package wire is the gRPC codec of the native API: protobuf, as any client
// speaks it, but the bytes of batches and blocks, which are nearly all of the
// traffic, are neither copied when a message is sent nor more than once when it is received.
//
// It guarantees that every message means the same as with the plain protobuf codec, in both
// directions; whatever the fast path does not know is left to that. In return a
// sender must leave the payload of a message alone for good: the transport may
// still hold it when the call has ended. The package keeps no state.
package wire
