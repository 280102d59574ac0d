// Package levadav1 is the native gRPC API of a Levada node, generated from
// levada.proto with `make generate`. The messages are a promise: fields are
// only added.
package levadav1
