// Package dnsgeo is the DNS face: an authoritative server for one zone, in which the hosts of sites are steered names.
// A query for the A or AAAA records of a steered name is answered with the nearest fit edge; everything else in the
// zone is static.
//
// It is not a resolver, signs nothing yet (DNSSEC), transfers nothing (AXFR, IXFR are refused) and never asks anyone
// anything while it answers: what it knows of the fleet, of places and of names are immutable snapshots behind atomic
// pointers. With the rest of the system dead it goes on answering from the last of them.
//
// # The way of a query
//
//	packet -> parse (query.go) -> client: ECS or source address (ecs.go) -> name: zone (zone.go) and steered names
//	(names.go) -> edge and scope (steering.go) -> reply (answer.go)
//
// Which edge a client gets is decided in one place, which the answer and Decide, the explanation for people, share.
// When the fleet, the policy or the geo data changes, the next query already obeys the change; only the scope it is told is
// narrower than it could be until a new steer.Map has been compiled in the background, some 100 ms later.
//
// # Life cycle
//
// New opens the sockets, so that a taken port is an error at once. Run serves until its context is cancelled, answers
// what it has read, closes the sockets and returns when all its goroutines have ended: Config.Workers for UDP, at most
// Config.MaxConns for TCP, one that compiles. A Server that is not run must be closed with Close. Without an address to
// listen on a Server has no sockets and only explains; Run then compiles, nothing else.
package dnsgeo
