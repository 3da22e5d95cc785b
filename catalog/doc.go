// Package catalog is the record of what has been published: sites, the current version of every file and all
// earlier ones, the reservations and uploads that are under way, and the outbox through which every change reaches
// the log.
//
// It is not the source that readers are served from: edges read the bucket, and go on when the catalogue is gone
// (ARCHITECTURE.md §1). It holds no bytes of files and does no I/O but its database. It makes no decision about
// HTTP; package upload drives it.
//
// The life of a change of a path, every step one transaction:
//
//	Check     are the preconditions met? (before bytes are taken from the publisher)
//	Reserve   the path's next version is fixed and the path is held; one reservation per path
//	          ... the publisher writes the bucket: v/, then p/ on the condition of the previous ETag ...
//	Commit    file, version, outbox row, end of the reservation
//	Release   in place of Commit, when the bucket was certainly not changed
//
// A publisher that dies in between leaves its reservation. Stale finds it, and whoever settles it makes it his own
// (TakeOver), so that nobody else does, and looks at the
// bucket: if p/ names the reserved version it is rolled forward (Commit), else back (Release). Adopt takes in a
// pointer that the bucket has and the catalogue does not.
//
// An upload that is stored before its hash is known is noted with OpenUpload before its first byte and forgotten in
// the transaction that refers to it, so that a crash leaves no object in the bucket that nobody knows of.
//
// Outbox appends the outbox rows to the log, in order, for ever. Rows are kept after they were appended, and for now
// they are never deleted: the whole log can be rebuilt from them.
//
// Catalog is the face of all this and decides only where a thing is: it keeps no rows. A server is one database with all
// the tables and does the work: everything about a path is in one of them, so that every step above is one transaction
// of one database. A path is in one of 4,096 slots (object.SlotOf) and a slot on one server, by a layout that the home
// server keeps, which is the first one and also has what belongs to no path: sites, hosts and purges. Each server knows
// itself which slots it has and refuses the rest, so a Catalog may work with an old layout: it then reads it again. A Mover
// takes slots from one server to another while both are in use; see move.go. Each server has an outbox of its own and an
// id, which begins the ids of its log entries. docs/catalogue-sharding.md is about all this.
//
// OpenSQLite opens the embedded catalogue: one connection that writes, a few that read, every commit synced
// (PRAGMA synchronous=FULL). One process at a time may have it open; that is enforced with a lock on a file beside
// it, because a reservation of another run of the program counts as abandoned. It starts no goroutine.
//
// OpenPostgres opens a catalogue in PostgreSQL, which any number of processes may share: each run has a lease there, and what
// it holds counts as abandoned when that has ended (runs.go). Reads may go to replicas, never so that a writer would miss
// what it wrote (Session, replicas.go), and be answered from memory (lookups.go). The SQL is one for both databases.
// OpenPostgres starts the goroutines that prolong the lease, watch the replicas and hear of other processes; Close ends
// them. Outbox.Run is one long call in either case; of several processes one drains (drainer.mayDrain).
//
// Transactions in SQLite come one after the other. In PostgreSQL they are READ COMMITTED: each statement sees what is
// committed when it begins, so a row that was read may be another one when it is written. A transaction therefore first
// writes the row that makes it alone (the reservation of a path, with ON CONFLICT DO NOTHING), or writes on the condition
// that the row is still the one it read (WHERE version = …), and begins again when it is not. Ids of the outbox are given in
// another order than that of the commits; what is pending is found by its state, so that nothing is skipped, and in the
// order of ids, which keeps what was committed before something else began before it.
//
// When a server does not answer, what is on others is served: errors about what it has wrap ErrUnavailable, listings come
// with a PartialError that names what they lack. It is opened when it comes back. Mover.Run is a long call, too.
//
// On failure: an operation that returns an error has changed nothing, except that a Commit whose context ended or
// whose disk failed may have been done; doing it again is safe and answers as the first would have. On PostgreSQL that is
// done here: conflicts, deadlocks and lost connections are tried again for two seconds, then the error wraps ErrUnavailable.
package catalog
