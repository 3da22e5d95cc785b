// Package contract is what Perigee relies on of an S3, as checks that can be run against one. The tests run them against every store
// they have (origin/origintest), and `perigee doctor s3` runs the same ones against the bucket of an operator.
//
// A check knows how much depends on it: Vital ones decide whether Perigee can use a store at all, Limited ones say within which limits.
// What only disturbs Perigee's own side, such as connections that break, is tested in origin/origintest and is no check.
//
// It is no benchmark and no survey of S3: an operation that Perigee does not use is not looked at.
//
// Life cycle: Open checks the configuration and talks to nobody; Try runs one check, whose objects all lie under a prefix of its own
// below that of Open, and removes them. A process that dies in between leaves some; Sweep removes what others left. Checks may run at
// the same time. Goroutines that a check starts have ended when Try returns.
//
// On failure Try returns what the store did and what it should have done. An error that wraps origin.ErrUnavailable or
// origin.ErrDenied may say less about the store than about the line to it, or about the rights of the key.
package contract
