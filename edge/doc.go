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
// Node joins a Server with the log, the reports and its life cycle; Node.Run owns all goroutines and waits for them.
package edge
