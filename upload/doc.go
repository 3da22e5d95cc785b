// Package upload is the publishers' face: it takes files by raw PUT, by HTML form, by resumable upload (tus 1.0) and straight to the bucket,
// stores them in the bucket and records them in the catalogue. It also lists, deletes and rolls back what was published.
//
// It serves no readers, knows no keys (the program puts its guard before the routes) and decides nothing about
// caching. Purges and sites are ordered through it because they share its outbox; their HTTP routes are package web's.
//
// # The pipeline
//
// Every change of a path goes through the same steps, however its bytes arrived:
//
//	check      the site takes uploads, the path is allowed, If-Match and If-None-Match hold
//	blob       the body, hashed on the way: up to 8 MiB to b/<hash> in one request, more by multipart to u/<id>, and its
//	           hash tree to t/<hash> if it has more than one chunk
//	reserve    the catalogue fixes the version and holds the path; the conditions are checked again
//	version    v/<path>/<version>, on the condition that it is new
//	head       p/<path>, on the condition of its previous ETag: from here on readers may see the change
//	commit     file, version and outbox row in one transaction
//	position   the place in the log, if it is known within two seconds
//
// A body that breaks off before its declared length leaves nothing visible. From reserve on the publisher going away does
// not matter. A crash leaves the old file or the new one: the sweeper looks at p/ and rolls the reservation forward or
// back, and it removes blobs that nothing came to refer to. When the outcome of a write is unknown the answer says so and the
// sweeper decides later. Blobs are claimed before they are stored or relied
// on, referred to from the reservation on, and collected long after the last reference is gone: collect.go, and package catalog, blobs.go. How versions are removed and
// bytes erased stands in remove.go.
//
// # Memory
//
// Bodies are never kept whole unless they are small. A large one holds one part (8 MiB unless the file is beyond 70 GiB)
// and a few more while they are on their way to the bucket; Config.Memory bounds the sum over all requests, and those
// that do not fit are not read until others have ended. The buffers lie outside the heap (buffers.go), so that the garbage collector neither keeps them nor lets the heap
// grow on their account.
//
// # Resumable uploads
//
// The state of an unfinished one is in the bucket, under w/<id>/: which parts are stored, the state of the hash there, and the
// bytes after the last whole part. It is written now and then and whenever a request ends, however it ends, so that an upload
// goes on after a cut connection or a restart. A new request for an upload ends the one that is running, so that a client that
// comes back need not wait until the server has noticed that its old connection is dead. Unfinished uploads are removed after
// Config.UploadTTL without a byte.
//
// A client may come back at another server of the same catalogue. Who works on an upload has it leased there (claim); a server that
// died or hangs loses the lease within seconds, and what it still sends later changes nothing (resumeState says why).
//
// Clients may also send the bytes to the bucket themselves, by URLs signed for single parts (direct.go), where Config has a Presigner.
//
// # A bucket that is slow or fails
//
// While parts are on their way nothing more is read than fits the memory, so a publisher is never faster than the bucket. At most
// Config.Requests requests are under way to it at a time. One that is refused for now (SlowDown, 503) or not answered is repeated
// with growing pauses for Config.Patience; then the request fails, and of a resumable upload everything that is in the bucket is kept.
//
// # Life cycle
//
// New starts nothing. Register adds the routes. Run is the sweeper: at once, then every minute, until its context ends.
// Requests and Run start goroutines, for parts in flight and to keep their leases, and wait for them before they return.
package upload
