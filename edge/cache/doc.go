// Package cache is an edge's engine: it knows which blob a name means, finds the bytes of blobs in memory and on disk, fetches
// what is missing from the origin, and applies the log of changes.
//
// It is not an HTTP cache: it knows nothing of requests and header fields (package edge does), and nothing of
// freshness by age: a published name stays good until the log says otherwise, within a lease. Where bytes lie on disk is the affair of package
// store, what gives way to what that of package policy, how memory is kept that of package ram.
//
// # Life of a cached object
//
// An object is a name (site, path, perhaps version) that has a pointer, and the blob that the pointer means. A blob is chunks of 1 MiB, the last
// one shorter, each of them a record of the store of its own; so is each node of its hash tree, if there is more than one chunk. The store's index is
// all there is to say which chunks are held.
//
//	phase 1  unknown   no name.                                     Resolve asks the bucket for the pointer; all who want it wait for one answer.
//	phase 2  named     the pointer is in the name table and, as a   Resolve answers from the table, or reads the record into it again.
//	                   record, in the store.
//	phase 3  fetched   a flight has a claim on the missing chunks;  A reader waits for the chunk it has come to, and for no other. Chunk by chunk,
//	                   a run reads them, one request for many.      what the root proves goes to the store, and then to those who wait.
//	phase 4  stored    all chunks, or some, are in the store, in    Body reads small chunks whole and checks them each time; it sends large
//	                   its log for newcomers (probation), or, if    ones from the segment's file, checked at their first use after a start,
//	                   they were wanted before, in the main log.    and by the scrubber. What is missing between is fetched as in phase 3.
//	phase 5  prepared  small, and asked for more than once lately:  Prepared answers with a look-up and two comparisons; one hit of sixteen
//	                   head and body lie in memory, ready to send.  is told to the store, so that the heat below stays true.
//	phase 6  moved     its segment is the oldest and is reclaimed:  What was asked for since it was written is written anew, behind; readers of
//	                   the warm chunks move on.                     the old place keep it until they are done.
//	phase 7  dropped   cold when its segment was reclaimed, found   The bytes that are left are found and used; the others are as in phase 3.
//	                   damaged, or erased.
//
// A name can become stale in phases 2 to 6 (purge, prefix, tag, site, reset of the log); its blob never can. A name
// never goes back to a pointer older than one it has had, whoever sends it: the version floor. A purge is one number that grows
// (package comment of purge): it costs the same for one object as for five million, and each name finds out when it is next asked for.
//
// # Files, and what is synced
//
// The directory belongs to one Engine (a lock file says so):
//
//	journal   seed, ticks, epochs, sites and the log position; entries applied since are appended; rewritten when mostly dead
//	store/    the records of names, chunks and tree nodes: package store
//
// Nothing is synced while a client waits. After kill -9 everything written is there, for the system has it. After a power cut
// each record stands for itself: a chunk whose checksum fails was not written in full, and is fetched again.
//
// Names and positions need an order. The journal ends, when read, at its last whole record, and the log replays what came
// after it; all entries that it has are applied once more to the names of the store, which may have lost them. Entries leave
// the journal only when it is rewritten, and then (1) the store is synced first, so that the names are as the entries made them, (2) the new journal is synced before it takes the
// old one's place by a rename, (3) the directory is synced. A name in the store may be newer than all the journal tells of; it is never the worse for it: a new run counts
// its ticks from far beyond the old ones, so its purges count against every such name, and the version floor keeps an older pointer out.
//
// # Goroutines
//
// Open starts none. Run keeps the list of sites, the journal and the store. Runs of flights and fetches of pointers have goroutines of their own, because their first
// reader may leave; Close ends them and waits. At most fillMemory bytes are between origin and disk at once, whatever the number of readers.
//
// # Failure
//
// A full, broken or vanished disk turns misses into pass-through: the client gets verified bytes, nothing is stored, a
// counter rises, the store tries again by itself. A dead origin fails only what must come from it. A damaged journal loses its tail; a damaged chunk is dropped.
package cache
