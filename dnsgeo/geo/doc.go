// Package geo tells where an IP address is.
//
// A DB is the whole address space cut into runs of consecutive addresses, each with one Place. It is compiled when it is
// opened and immutable afterwards: a look-up is two binary searches, allocates nothing, decodes nothing and touches no
// file. Embedded is the table inside the binary; Open reads an operator's MaxMind-format files or a table that Build
// wrote. Each DB has a Passport: whose data it is, under which terms, how old, and how much of the address space it knows.
//
// A Holder keeps the DB in use and replaces it while it is being read, if the new one stands the comparison with the old;
// a Follower does so whenever files change. Package update, below this one, fetches newer files. Diff tells what a new DB
// would change.
//
// It is not a geocoder and knows nothing of edges: package steer joins places and edges. IPv4 is resolved to single
// addresses, IPv6 to /64, the smallest network that is routed to a customer; the embedded table is coarser (see Build).
//
// The package starts no goroutine and keeps no file open: Open reads its files and closes them, Follower.Run returns when
// its context ends. A file that cannot be read or is damaged is an error and changes nothing that was opened before.
package geo
