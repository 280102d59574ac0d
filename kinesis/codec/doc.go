// Package codec reads the bodies of requests and writes those of responses, in JSON and in CBOR.
//
// A Reader pulls the values of one body in the order in which they stand, without a tree of them: what a body costs in
// memory is what its caller keeps. Both formats are read through one interface, so that an operation is written once.
// Errors stick: after the first one every method returns its zero value, and Err says what was wrong.
//
// A Writer appends a body to a slice.
//
// Decode and Encode do the same for a struct, by reflection: its fields are named as the members of the API are. Validate holds a struct
// against the constraints in its tags. Operations that carry records use Reader and Writer themselves.
//
// The package knows nothing of operations, and does no I/O.
//
// The formats are those that the clients of the service speak: AWS JSON 1.1 (blobs in base64, times in seconds with a fraction) and
// AWS CBOR 1.1 (blobs as byte strings, times as whole milliseconds with tag 1).
package codec
