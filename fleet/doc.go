// Package fleet knows which nodes exist and which are fit to serve.
//
// A Report is the only message about a node's state. Nodes send one every ReportEvery and at once when their state
// or position changes; a Board collects them and keeps an immutable Snapshot behind an atomic pointer, which
// steering, the console and the proof of purge read. fleet/bus carries the reports over NATS.
//
// A node that crashes stops reporting and is Down after DeadAfter. A node that leaves says so (Stopping) and is Down
// at once. When the Board itself has lost the bus it freezes: silence then says nothing about the nodes, and the
// last good Snapshot stays. A Board can save what it knows and start from it, so that a DNS server that restarts
// without a bus answers as before.
package fleet
