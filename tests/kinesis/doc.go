// Package kinesis holds tests of the Kinesis-compatible API with the clients that programs use: SDKs of several languages, the AWS command line
// and consumer libraries, against clusters of real processes.
package kinesis
