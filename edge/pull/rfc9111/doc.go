// Package rfc9111 decides what a shared HTTP cache may do: keep a response, use it again, change it, forget it. It is the rules of RFC 9111 and of its
// companions as functions of messages and time; it does no I/O and keeps no state.
//
// It knows nothing of where responses lie, of fills and ranges of bytes (package pull does).
//
// # The decision table
//
// Each rule is a step of one of three lists; the first one that has something to say decides, and its Reason goes to Cache-Status, log and metrics.
//
//	Store    may this response be kept?                              Reuse    may this stored response answer this request?
//	method        GET, POST with freshness and Content-Location  §3  no-cache request   Cache-Control or Pragma             §5.2.1.4
//	final         not 1xx                                        §3  no-cache response  every use is confirmed              §5.2.2.4
//	understood    must-understand lifts no-store            §5.2.2.3 fresh              lifetime > age                      §4.2
//	no-store      of the response, or of the request        §5.2.2.5 max-age, min-fresh of the request                      §5.2.1
//	private       without field names                       §5.2.2.7 max-stale          of the request, if nothing forbids  §5.2.1.2
//	authorized    public, s-maxage or must-revalidate          §3.5  while revalidated  stale-while-revalidate        RFC 5861 §3
//	vary          not *                                        §4.1  stale              is validated, or an error serves it
//	cacheable     explicit freshness, public, or heuristic     §3
//
// What stands in place of Cache-Control: a valid CDN-Cache-Control (RFC 9213), for then neither Cache-Control nor Expires counts.
//
// # Choices where the text leaves one
//
// A directive that is repeated counts with its first value (§4.2.1). A lifetime that is no number is 0. Numbers are capped at 2³¹ seconds (§1.2.2). The heuristic lifetime
// is a tenth of the time since Last-Modified (§4.2.2), at most MaxHeuristic. Dates are read in any case (§4.2), with whatever day of the week.
package rfc9111
