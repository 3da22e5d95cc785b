// Package health asks the edges of a fleet whether they serve clients.
//
// A Prober sends every edge of the snapshot a request, the way a client would, about every Config.Every. Its verdicts travel in its node's own
// fleet.Report (Fill) and are weighed against those of other probers by each fleet.Board. It decides nothing itself.
//
// An edge without a verdict gets one with the first success, or with Config.Down failures in a row. It takes Config.Down failures to be down and Config.Up successes
// to be up again: a client that is sent to a dead edge loses more than one that is sent to the next nearest for a moment longer.
// Edges that say they are starting or stopping are not asked, and what was known of them is forgotten; those that have fallen silent are asked.
//
// A failure may be the prober's own. So a verdict of down needs a witness: another edge that has answered since the failures began. Without
// one, when all edges that were not down already have failed, two at least, the prober is blind: it withdraws its verdicts, tells Config.Blind, and
// counts anew from the first success of any edge. A prober that has no other edge to ask has no witness, and is believed.
//
// A Prober asks at most fleet.MaxProbes edges, as that many verdicts fit in a report. In a larger fleet each prober asks those that rendezvous hashing gives it, so that
// several probers share the fleet without talking to one another; an edge that nobody asks is what it says of itself.
//
// What is asked (HTTP): GET of Path, by default "/", on a new connection to the first public address of each family, with a Host that no site has. The
// answer must come from the edge itself (Cache-Status, RFC 9211 §2, begins with its name) and be no 5xx. An edge that serves answers 404 there, and 503 while
// it does not know its sites; so the answer proves the way to it, its listener, its parser, and that it knows what it serves. It needs neither a site nor
// the bucket, whose failure must not take out every edge at once, and nothing is answered to it that others are not told. Connections are not
// kept: one that is open proves nothing about the next client. A family that this machine has no way to is left out.
//
// Run owns the goroutines, at most maxRunning of them ask at a time, and waits for them. Nothing is kept over a restart.
package health
