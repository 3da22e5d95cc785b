// Package bus carries the fleet's four kinds of messages over NATS: the ordered log of name changes (Log), nodes'
// reports, commands to nodes, and DNSSEC keys sealed for one DNS node each. It holds both ends: an embedded server with JetStream (Server) for one machine, and
// the Client, which talks to that server or to a NATS cluster in the same way.
//
// It is not the source of truth: the log can be rebuilt from the catalogue, reports are repeated by their nodes. And it
// is not a way to serve: a node that has lost the bus goes on with what it was last told.
//
// # Subjects
//
//	perigee.log.<entry id>     entries on their way into the stream PERIGEE_LOG; only the control side may publish
//	perigee.feed.<entry id>    the same entries again, published by the server once they are stored
//	perigee.report.<node>      reports
//	perigee.control.<node>     requests to a node
//	perigee.dnskeys.<identity> sealed messages to a DNS node (package dnsgeo/sign/share); between nodes only, the control side neither hears
//	                           nor sends them. Every node may publish and listen there: what is sealed says for whom it is and who sent it
//
// # How a follower reads
//
// A follower listens to the feed, which reaches it well within a millisecond of the sync to disk, and asks the stream
// for its state at the start, after each reconnect and every AskEvery. The feed is a hint: an entry from it counts only
// if it is the very next one and carries the hash of the one before; whatever else arrives makes the follower read
// from the stream itself. So a lost, doubled or forged message of the feed can cost a round trip and never an entry.
// The server keeps no state per follower, hence none can be left behind, time out or fill its memory, and an edge's key
// needs two read calls and no right to create anything.
//
// # Life cycle
//
// Start (or Run) owns the server's goroutines, its listener and its directory until Shutdown returns. Connect owns
// the connection's goroutines until Close returns; it succeeds while there is no server yet and reconnects for ever.
// Log.Follow and Log.Run block and start nothing that outlives them. SubscribeReports, SubscribeDNSKeys and ServeControl start one
// goroutine each, which their stop functions wait for.
//
// # On failure
//
// Nothing is queued for a bus that cannot be reached: publishing fails at once, an Append fails with "may or may not be
// in the log", followers are silent and confirm nothing. When the server returns, even after SIGKILL, followers go on
// from where they were; if its disk is gone they are told to Reset. When the server's disk is full it stores nothing,
// says so in Health, and goes on by itself once there is room.
//
// # Limits
//
// There is no TLS yet: beyond loopback the bus belongs on a private network. A NATS cluster of the operator's own must be
// given the accounts and permissions that setAccounts and nodePermissions spell out for the embedded server, and must
// sync on every append. Leaf nodes with a JetStream domain of their own are not supported yet.
package bus

const (
	streamName     = "PERIGEE_LOG"
	logSubject     = "perigee.log."
	feedSubject    = "perigee.feed."
	reportSubject  = "perigee.report."
	controlSubject = "perigee.control."

	// The two calls of the JetStream API a follower needs (NATS ADR-31 for the second one).
	infoCall = "$JS.API.STREAM.INFO." + streamName
	readCall = "$JS.API.DIRECT.GET." + streamName
)
