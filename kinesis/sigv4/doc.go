// Package sigv4 verifies AWS Signature Version 4 on the requests that an HTTP server receives.
//
// FromHTTP takes from a request what a signature is about, Parse reads which access key the request says it is signed with, and a
// Verifier tells whether it is, given the secret of that key. The HTTP front door is the caller; it looks up the key in between.
//
// What a nil error of Verify guarantees: whoever made the request knew the secret, for this region and service, within the time
// allowed; and method, path, query, host, body, the headers that are listed as signed and every x-amz-* header are as they were
// signed. Anything else is answered with an *Error that has the code, the status and the words of the real service. Nothing here
// panics, and time and memory are in proportion to the size of the request.
//
// What is assumed: headers are keyed as net/http does it and hold no line breaks, and no proxy in front rewrites the host, the
// path or a signed header. A signature may be used again until it is too old; that is so by design of the scheme.
//
// Rules, where the scheme leaves a choice or its signers differ:
//   - A signature stands in the Authorization header or in the query (a presigned URL), never in both.
//   - SignedHeaders is lower case, sorted and without repetition, as every signer writes it. It has host, or in its
//     place :authority, and every header in it was received.
//   - Every x-amz-* header received is signed, for X-Amz-Target alone decides what a request does. The exception is
//     x-amz-user-agent, which the SDK for PHP leaves out. The headers x-amzn-*, content-type, user-agent, expect and all others
//     need not be signed: SDKs differ in which of them they leave out, and proxies add and change them.
//   - The path is encoded once more than it was on the wire, after empty and dot segments are taken out. The SDK for Go does not
//     take them out; the paths of real clients have none.
//   - The query is sorted by encoded name, then by encoded value; a plus sign is a space.
//   - The body is always signed: UNSIGNED-PAYLOAD and STREAMING-... are for other services.
//   - A session token is sent exactly if the key has one, and is the same.
//   - A presigned URL is good for X-Amz-Expires, of a week at most; without that for as long as a signed header is.
//
// The scheme is described in the AWS IAM user guide, "AWS Signature Version 4 for API requests".
package sigv4
