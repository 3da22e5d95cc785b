// Package cache is an edge's engine: it knows which blob a name means, holds blobs on disk and in memory, fills
// what is missing from the origin, and applies the log of changes.
//
// It is not an HTTP cache: it knows nothing of requests and header fields (package edge does), and nothing of
// freshness by age: a published name stays good until the log says otherwise, within a lease.
//
// # Life of a cached object
//
//	phase 1  unknown   no name, no blob.                                    Resolve asks the bucket for the pointer.
//	phase 2  named     a pointer is in the name table and in the journal.   Locate starts or joins a fill.
//	phase 3  filling   a temporary file grows, chunk by verified chunk.     Readers follow behind the last verified chunk.
//	phase 4  stored    the file has its final name; small ones are in RAM.  Locate opens it. A chunk is verified at its
//	                   first read after a start or after somebody wrote to the file, small blobs at every read from disk.
//	phase 5  dropped   evicted, or found damaged; the file is unlinked.     Readers that have it open go on; damaged bytes
//	                   are never sent, the rest comes from the origin.
//
// A name can become stale in phases 2 to 5 (purge, prefix, tag, site, reset of the log); its blob never can. A name
// never goes back to a pointer older than one it has had, whoever sends it: the version floor.
//
// # Files
//
// The directory belongs to one Engine (a lock file says so):
//
//	journal          names, epochs, sites and the log position, appended; rewritten when mostly dead
//	blobs/<hh>/<sha256>-<size>   the bytes, then the encoded hash tree if there is more than one chunk
//	tmp/             fills in progress; emptied at start
//
// Nothing is synced while serving. After kill -9 everything written is there. After a power cut the journal ends at its
// last whole record, position and names alike, so the log replays the rest; a torn blob fails its verification
// and is fetched again.
//
// # Goroutines
//
// Open starts none. Fills and pointer fetches run in goroutines of their own, because their first reader may leave; Close ends
// them and waits.
//
// # Failure
//
// A full or broken disk turns misses into pass-through: the client gets verified bytes, nothing is stored, a
// counter rises. A dead origin fails only what must come from it. A damaged journal loses its tail; a damaged blob is dropped.
package cache
