// Package dnsgeo is the DNS face: an authoritative server for a zone in which the hosts of sites are steered names, and for
// any number of ordinary zones beside it. A query for the A, AAAA or HTTPS records of a steered name is answered with the
// nearest fit edges; everything else is static.
//
// It is a primary: ordinary zones come from files, and go to secondaries that are allowed to have them (AXFR, IXFR, NOTIFY,
// with TSIG). It is not a resolver and not a secondary, takes no updates (RFC 2136), and never asks anyone anything while it
// answers: what it knows of the fleet, of places, of names and of zones are immutable snapshots behind atomic pointers.
// With the rest of the system dead it goes on answering from the last of them.
//
// # The way of a query
//
//  1. The UDP loop (udp_linux.go) reads a batch from the socket of its core. Connections (stream.go, dot.go) go straight to 4.
//  2. fast.go parses the usual form of a query and looks at its cookie (answerer.go).
//  3. hot.go has the names, the records and the steering map of the moment in wire form, hotsigned.go their signatures: what is found there is
//     copied behind the question, and goes to 6. It means what the long way would have said.
//  4. The long way: signature (signed.go) -> parse (query.go) -> client: ECS or source address (ecs.go) -> the zone with the longest
//     matching origin (zones.go) -> name: records (lookup.go) and steered names (names.go) -> edges and scope (steering.go)
//     -> signatures and proofs (dnssec.go) -> reply (answer.go).
//  5. A query that finds the fleet, the geo data or the names changed goes the long way, until steering has compiled the next map in the background.
//  6. The limit of answers to a network lets it go, cuts it or drops it (answerer.go); log and tap are told (observe.go); the batch is sent.
//
// Which edge a client gets is decided in one place, which the answer and Decide, the explanation for people, share.
// When the fleet, the policy or the geo data changes, the next query already obeys the change; only the scope it is told is
// narrower than it could be until a new steer.Map has been compiled, some 100 ms later.
//
// With Config.Signer the zone is signed while it answers: package sign has the keys and remembers the signatures, dnssec.go knows what an answer
// of a signed zone has to contain. What does not exist is denied by RFC 9824, compact denial of existence.
//
// # Zones
//
// A zone is a served; what it holds at one time is a version, which is never changed: a reader loads it once per query or
// transfer. One goroutine looks at the files every two seconds, reads what has changed into a new version and swaps it in; a file
// with a mistake changes nothing. A version knows the differences to those before it (journal.go), as long as they are
// smaller than the zone; after a restart the journal is empty and secondaries get the whole zone once.
//
// # Life cycle
//
// New opens the sockets, so that a taken port is an error at once. Run serves until its context is cancelled, answers
// what it has read, closes the sockets and returns when all its goroutines have ended: Config.Sockets for UDP, at most
// Config.MaxConns for connections and maxPipeline for the queries of each, one that compiles, one that reads zone files, one
// per secondary that is notified. A Server that is not run must be closed with Close. Without an address to
// listen on a Server has no sockets and only explains; Run then compiles and reads zone files, nothing else.
package dnsgeo
