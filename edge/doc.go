// Package edge is the readers' face: it answers GET and HEAD for the files of every site, from an engine
// (edge/cache) that holds what it can.
//
// It is not a proxy: it forwards no request. It needs neither catalogue nor console; without bus and bucket it answers
// from what it holds (see cache.Engine for the lease).
//
// A request is a list of named steps, each a function of its own, run in order until one of them answers:
//
//	parse      method, host and path become a site and a name, or 400, 404, 405, 503
//	resolve    the name becomes a pointer, or 404, 502, 503, 504
//	evaluate   preconditions and Range become a plan, or 304, 412, 416
//	locate     the plan's bytes are found or begun to be fetched, or 502, 504
//	send       head, then verified bytes; a failure now cuts the connection: never a short success
//
// Every answer carries Cache-Status (RFC 9211) with the reason from cache.Reason; the same word goes to the access log
// and the metrics.
//
// The steps run over two transports that differ in nothing a client could see but the order of fields:
//
//	lane      edge/lane reads requests in canonical form on its own loops. What the engine has in memory (memory.go) is answered there
//	          and then by Hot, which is the steps in one, by the same evaluate and from the same field lines; anything else
//	          goes through the steps on a goroutine.
//	net/http  what is not canonical, and what comes by a listener that is not TCP. The lane hands a connection over with the bytes it
//	          has read; it stays there.
//
// An answer is counted and logged once, whichever way it went. Counters are kept for each loop (tally) and added up when
// somebody asks; the access log is the caller's to open and Node's to run (edge/accesslog).
//
// Node joins a Server with the log, the reports and its life cycle; Node.Run owns all goroutines and waits for them.
package edge
