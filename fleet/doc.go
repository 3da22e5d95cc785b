// Package fleet knows which nodes exist and which are fit to serve.
//
// A Report is the only message about a node's state. Nodes send one every ReportEvery and at once when their state
// or position changes; a Board collects them and keeps an immutable Snapshot behind an atomic pointer, which
// steering, the console and the proof of purge read. fleet/bus carries the reports over NATS, fleet/health asks the edges whether they
// serve and puts the verdicts into its node's own reports, fleet/latency adds up the round trips in them.
//
// A Board starts no goroutine; Run lets time pass on it. A Board can save what it knows and start from it, so that a DNS server that restarts
// without a bus answers as before.
//
// What makes an edge unfit, and what makes it fit again (Node.Why):
//
//	down         silent for DeadAfter, or said that it stops     it reports again
//	draining     says so                                         it says ready
//	starting     says so                                         it says ready
//	unreachable  more probers miss it than reach it (recount)    as many or more reach it; no prober has a verdict any more
//	flapping     lost FlapLosses times within FlapWindow         the end of the hold, which doubles each time (HoldFirst to HoldMax)
//
// A prober counts while it reports, is ready or draining, and is not blind. An edge without a verdict is what it says of itself, so an edge that has just
// reported ready is fit. Holds are each board's own: two DNS servers that heard of different losses may differ for as long as a hold.
//
// A board whose node has lost its own network would see everybody die. So it freezes: a Snapshot that is Frozen shows the last good view.
//
//	cause   begins                                                 ends                              meanwhile
//	no-bus  the bus client has no connection (Freeze)              it has one                        nobody grows old
//	deaf    somebody's silence reaches DeadAfter, and for          a report of another node          nobody grows old
//	        DeadAfter/2 no other node was heard
//	blind   the node's prober: all edges that it reached fail,     a probe gets through, or there    nobody grows old; silences that began up to
//	        two at least, and none has answered since (Blind)      is nobody to probe                5 s before are taken back; own verdicts do not count
//
// Whatever arrives while a board is frozen counts: a node that says it drains or stops is believed, and so are other probers. Edges without a
// verdict stay as reachable as they were. At the end of the last cause every node gets DeadAfter to be heard before its silence counts. In the four kinds of partition:
//
//	a prober is cut off from edges and bus    it is deaf or without bus, and blind: its view stays. To the others it is down, and its verdicts do not count
//	a prober is cut off from the edges only   it is blind: its view stays, it says so, and its verdicts do not count
//	an edge is cut off from the bus, serves   down: it hears of no purge. If that befalls all edges, none is fit, and steering takes those that fell silent last
//	an edge reports and does not serve        unreachable, once the quorum has seen it
//	everybody is silent                       deaf: the view stays until somebody is heard
package fleet
