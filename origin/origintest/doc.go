// Package origintest runs a real S3 server for tests and holds the suite that every S3 store must pass to serve as a bucket.
//
// The server is origin/embedded in a process of its own: the test binary starts itself again. A test package that wants one
// calls Main from its TestMain and Start from its tests.
package origintest
