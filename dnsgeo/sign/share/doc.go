// Package share keeps one DNSSEC key set on all DNS nodes of a zone: each sends what it has to the others, sealed for each (package sign), over the bus.
//
// It makes no keys, and trusts nobody by itself: whose sets count, and who gets any, is a list of public identities in the operator's configuration. The bus is
// not trusted: whoever can listen there reads nothing, whoever can publish there has nothing put into use.
//
// # What is sent when
//
//	the set, to every peer       at the start, when it changes, and every Repeat
//	the set, to one peer         when that asks, or has sent an older one: so a node that was away when a rollover began has the new set at once
//	an ask, to every peer        by a node without a set: at the start, then after 1, 2, 4 … s, at most AskAtMost, until it has one
//	"I have none", to one peer   in place of the set, by a node that was asked and has none
//
// At most one message a second goes to each peer; up to takePerSecond are looked at in a second, the rest is dropped and counted.
//
// # What counts
//
// A set is kept when its sender is a peer, it is for this node and this zone, and its serial is higher than that of the set at hand (sign.Store.Accept). So a message that
// is repeated, late, or of somebody else changes nothing; each is counted by what became of it (Outcome). Two sets with the same serial and different keys mean that
// somebody changed the keys on two nodes at the same time: both stay as they are, the log says so, and the next change on either of them wins.
// An ask must be newer than the one before of the same peer, and no more than an hour off by this node's clock, which signatures need as well; an answer that says
// "none" must repeat the number of the ask.
//
// A set carries no time. Whoever recorded a message could give it once more to a node with the same identity that has lost its keys since, and keep all newer ones
// from it; identity and keys are in one directory, so that both are lost together.
//
// # A node without keys
//
// When peers are configured and there is no set in the store, nobody knows yet whether the zone is signed. Awaited is then true, and the DNS server answers SERVFAIL with "Not
// Ready" (RFC 8914 §4.15) for the zone, so that resolvers take another server: an unsigned answer of a signed zone is bogus, and may cost the resolver's trust in all servers.
// This ends when a set arrives, when every peer has said that it has none, or after HoldFor: were the peers gone for good, nobody would answer at all. Then the server answers
// unsigned and the log has an error, again every ComplainEvery until there is a set. A node with a set in its store never waits.
//
// # Life cycle
//
// New starts nothing. Run is the one goroutine, the caller's; it ends with its context. Messages reach it through a channel of fixed size. The Share owns no file: the set lies
// in the sign.Store, which commands may change meanwhile. What fails is logged and tried again; nothing of it ends Run but a bus client that was closed. Nothing secret is logged.
package share
