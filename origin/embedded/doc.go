// Package embedded is the S3 server inside the binary: versitygw's S3 API over its POSIX backend, on one directory of one
// machine, made durable. It is what a Perigee without an S3 of its own stores its objects in.
//
// It is not a cluster and keeps one copy of each object: redundancy is the file system's. It speaks plain HTTP and is meant
// for loopback or a private network. Versioning, lifecycle rules and notifications of S3 are absent.
//
// # Processes
//
// The server runs in a process of its own, because the backend changes the working directory and works on relative paths: two of
// them in one process would mix up their directories. Run is the server; it blocks until its context ends. RunChild is Run
// for a process that was started by StartChild: it announces its address on standard output, logs JSON lines to standard
// error and ends when its parent does. StartChild runs such a process and starts it again when it dies.
//
// # The directory
//
//	LOCK     held (flock) by the process that serves the directory; a second one is refused
//	FORMAT   how metadata is kept, decided at the first start: in extended attributes or in sidecar files
//	s3/      the buckets, an object per file. Never to be copied without extended attributes (cp -a, rsync -X)
//	meta/    sidecar files, only if the file system has no extended attributes
//
// # Durability
//
// A write is acknowledged when it is on stable storage: the data is synced before the object gets its name, the name's
// directory (and every new directory above it) after. A process that is killed, or a machine that loses power, at any moment leaves
// the old object or the new one. The backend itself syncs nothing; type store adds it. With sidecar metadata this holds for new
// objects; replacing one is not atomic across a crash, and the log says so at the start.
//
// # Rights
//
// Two accounts, both from the configuration and never written to disk: the root account may do everything, the edge
// account may get and list the objects of the one bucket. Everybody else is refused.
package embedded
