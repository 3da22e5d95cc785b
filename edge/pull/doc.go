// Package pull is a shared HTTP cache in front of somebody's HTTP origin, as RFC 9110 and RFC 9111 describe one. It answers whole requests.
//
// The rules are package rfc9111's; where bytes lie on disk is package store's affair; how an origin is reached, and what may not be, that of package
// origin/site. This package joins them: it finds stored responses, forwards requests, and brings bytes to readers while they arrive.
//
// # What is kept
//
// A stored response is a head, one record of its status and fields, and its content, records of chunks of 1 MiB. The content has a random name, so that a new response
// never mixes with an old one. A chunk record says which bytes of the chunk it has: what a range brought is kept as it is, and is joined with what comes later.
// A head is found by the key (scheme, host, port, path and query, as they came) and by what the request has in the fields that Vary names; which fields these are
// stands in a record of its own, that exists only if a response had Vary.
//
// # A request
//
// A request is a list of named steps:
//
//	parse      method, host and target, or 400, 405, 508
//	select     the stored response whose Vary the request matches; the newest, if there are several                    RFC 9111 §4.1
//	reuse      may it answer? (package rfc9111)                                                                        RFC 9111 §4
//	forward    one request for all who ask for the same at the same time: with validators, if there is something to confirm,   §4.3
//	           and for the missing bytes alone, if some are held                                                       §3.4
//	settle     304 updates what is stored; a response that may be kept begins a fill; an error may be answered with what is stored
//	respond    the request's own conditions and ranges, then the bytes: from disk, or from the fill as they come
//
// # Fills
//
// A fill reads one body of the origin, into chunks, to the store and to all readers, who come and go: it ends with its last reader, unless little is missing. What
// the store has taken is read from there, so that a slow reader costs no memory and slows nobody. If the store takes nothing, the fill keeps a few chunks and
// waits for the fastest reader; one who is too slow for the others goes on with a request of his own, or is cut off. The head is written when the body has
// come to its end as it was declared, and not before: an incomplete response is never kept, and whoever gets one sees the connection break.
//
// # Life cycle and failure
//
// New starts nothing. Close ends all fills and waits. Goroutines are those of fills and of requests that others may wait for; all end with Close. A disk that fails makes the
// cache pass everything through. Nothing here is synced: after a crash a head without all of its chunks is a part, and the rest is fetched.
package pull
