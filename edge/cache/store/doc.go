// Package store keeps records on a disk: a log of segments that is only appended to, and an index of some 13 bytes a record in memory.
//
// It is not a cache of anything: it knows keys, two classes of records and sizes, no names and no meaning. What a newcomer is worth, and what survives when
// room is needed, is decided by a Policy.
//
// # Records and segments
//
// A record is a head of 48 bytes, a meta part and a body, padded to 32 bytes. The head has the whole key, a sequence number that grows with each Put, and two
// CRC-32C: one of the body, one of head and meta that also covers which store, which segment and which offset it was written at, so that bytes
// that were copied from elsewhere are foreign. There are three logs of segments: names, probation and main; each appends to one segment. A segment that
// is full is sealed: a footer lists its records, so that a start reads footers instead of segments. The index has 44 bits of the key and one word: place, length,
// heat, class, and whether a large body was checked since the start. A void is what stands where a record was erased or its write failed.
//
// # Life cycle
//
// Open recovers and starts no goroutine. Run scrubs, reclaims ahead of need and saves heat; it may be left out. Close saves. All methods may be used by any
// number of goroutines, and are harmless after Close. The directory belongs to the store alone: files in it that are not its own are removed. A Record that is open keeps the
// file of its segment open until it is closed; all other files are the store's.
//
//	phase 1  put       room is reserved in the active segment of a log; the record is written in one write; then the index points to it.
//	phase 2  read      the index is asked, the segment pinned, the record read in one read and checked. A body of more than 256 KiB that is opened is checked at its first use
//	                   after it was put or the store was started.
//	phase 3  reclaim   the oldest segment of a log has to make room: the policy says which of its records are written again, in main; the rest are forgotten;
//	                   then the file is unlinked. Who has it pinned reads on.
//	phase 4  gone      dropped, erased, damaged or not worth keeping.
//
// # What is synced, and why
//
// Bodies never are: after kill -9 the system has them; after a power cut a body that is not whole fails its checksum, and a lost one is fetched again. Names are synced
// (fdatasync, and the directory if a file of names was made or removed) by Sync, when their segment is sealed, and before a segment is unlinked whose names were written again. A file of
// names gets its name when its header is on the disk. If a sync fails, the names in question are written again into another segment before a Sync succeeds: a second
// sync of the same file would say nothing. A Drop of a name that the disk refuses makes Sync fail until it is made good. Erase syncs what it overwrote. Heat and the policy's
// state are small files that are synced and put in place by a rename: lost or damaged, they cost hits, nothing else.
//
// The sequence number decides between two records of one key, whatever order they lie in; a record that is written again keeps its number.
//
// # Names that were lost
//
// If the newest record of a name is damaged, an older one of the same key must not pass for it. A footer knows that there was one. Without a footer, the header's mark says up to where a
// segment was once synced: if anything is missing before that, or if rubbish is found between records, it was no crash, and this segment and all older ones of names are
// removed. That costs a question to the origin for each name; bodies stay. What a crash takes lies behind the mark, and is younger than the last Sync.
//
// # Space
//
// The sizes of all files, in blocks of 4 KiB, never exceed Config.Size. An active segment counts as full. One segment is kept free for what a reclaim writes again.
//
// # Failure
//
// A write that fails makes Put answer ErrFailing for a while, from 1 s up to 30 s, and reads go on. A full disk is first answered by removing a segment. A record that cannot be
// read, or is not what it should be, is dropped and counted. A segment that lost its footer is scanned; a head that is damaged is skipped. A directory that was taken away is
// made anew with the next segment.
package store
