// Package kinesis is the front door for programs written for the Amazon Kinesis Data Streams API: an HTTP handler that
// answers its operations with the streams of a cluster.
//
// Every operation has a file of its own. Bodies are read and written by package codec, signatures verified by package
// sigv4. Streams, shards and records are the cluster's own, reached through the client library; what the API has beside them
// (tags, consumers, policies, channels, settings that are only kept) are documents of the cluster, see documents.go.
//
// Guarantees: a record that was answered with a sequence number is on the disks of a majority of its replicas. Records of one
// PutRecords call stand in the order of the call within each shard. Whatever a body or a header holds, the answer is a result or one of the errors of
// the API. Memory for requests is bounded for the whole handler. Nothing pretends to succeed: what the cluster cannot do is refused with the error that the API has for it.
//
// A handler keeps no state that another one would need: any node answers any request, iterators and tokens of one are good at all.
package kinesis
