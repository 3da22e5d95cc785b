// Package watch finds out what other tools do to the objects of bucket sites, and has it recorded.
//
// It is the control side of kind bucket: edges do not need it to serve (package edge/cache), but without it they would not hear that an object they hold has been
// overwritten. It writes nothing to any bucket, and it is no part of the catalogue, which it reaches through Book.
//
// There are three ways to hear of a change, and all of them only say where to look:
//
//	listening   one connection to the store, which tells as it happens (MinIO and those like it)
//	webhook     the store, or something before it, posts its events (ParseEvents knows the forms; package web has the route)
//	polling     the list of the bucket is compared with the catalogue, both sorted, a page at a time; what is found differs from what the others missed
//
// What comes of a hint is always the same (look): ask the catalogue which version it has, ask the store for the object, record what it said on the condition
// that the catalogue has not moved. Hints may come late, twice, or in any order; nothing is believed of them but the name. A hint is acknowledged when it is
// recorded, so that a sender which repeats what failed loses nothing.
//
// # The first listing
//
// A bucket may have had millions of objects before it became a site. They are recorded without an entry of the log each; at the end one entry makes every edge confirm
// what it has of the site. Until then changes that no notification tells of reach the edges with that entry.
//
// # Life cycle
//
// Run keeps one goroutine for each bucket site, which tries to hold the site in the catalogue; of all nodes one does, and that one listens and polls. If it dies, another takes over within
// holdTime and goes on with the listing where it was saved. Take, for webhooks, works on every node. Run returns when all it started has ended.
//
// # Failure
//
// A store that does not answer ends the listing, which goes on at the same place with back-off; the status says why. A catalogue that does not answer loses the hold, later. Memory is bounded: one page
// of each side, and lookers objects being looked at.
package watch
