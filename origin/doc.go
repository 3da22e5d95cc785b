// Package origin is where bytes come from: the bucket, any S3-compatible store, spoken to over HTTP.
//
// There are two halves. A Reader fetches objects; edges use it, with a key that may only read. A Writer stores them;
// only the publishing side has one. They use different SDKs on purpose: minio-go's raw GetObject allocates least on the
// path of every cache miss, and aws-sdk-go-v2 has the credential chain and typed conditional writes that publishing
// needs. Neither SDK's types leave this package, and origin/origintest holds one suite for both halves together.
//
// It is not a cache, it knows no pointers, and of sites only where their records lie; it never copies inside the bucket. Keys
// come from package object.
//
// Life cycle: NewReader and NewWriter check the configuration but do not talk to the store, so a process can start
// before its bucket; Check and EnsureBucket do. Both halves are safe for concurrent use, start no goroutine of their own
// beyond those of net/http's connection pool, and are released by Close. A body returned by Get must be closed.
//
// On failure every method returns one of the sentinel errors below, wrapped, so that a caller tells "there is no such
// object" (fs.ErrNotExist) from "the store does not answer" (ErrUnavailable) without looking at SDK types. Requests
// that may be repeated are repeated a few times before that (Config.MaxRetries). There is no deadline on a whole body, because a large
// one over a slow line is no error: there is a limit on silence instead (Config.Silence), for every read and write of a
// connection.
package origin
