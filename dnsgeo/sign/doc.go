// Package sign is the DNSSEC of the zone: its keys and their rollover, signatures made while answering, compact denial of existence, and the
// key set on its way from one node to the others.
//
// It answers no query and sends nothing: dnsgeo asks it for signatures, package share carries its sealed messages.
//
// # One key
//
// A zone has one kind of key, a CSK (RFC 6781 §3.1): ECDSA P-256 (algorithm 13, RFC 6605) with the flag SEP, which signs everything. To split it in
// KSK and ZSK protects a key that may stay offline; here every node signs what it answers, so both would lie on the same disks, and the zone
// would pay for it with a larger DNSKEY set and with two kinds of rollover.
//
// # Rollover
//
// The new key is published beside the old one, and so is its DS, before it signs anything (pre-publication of the key, RFC 7583 §3.2.1, and
// double DS, §3.3.2, at the same time). So an answer has one signature at any moment, only the DNSKEY set has one of each published key:
//
//	Published  its DNSKEY is in the zone, CDS and CDNSKEY ask the parent for its DS (RFC 7344)
//	Active     it signs; at the earliest when every cache has the DNSKEY set with it, and the DS set with it:
//	           max(Published + KeyTTL + Spread, the DS was seen at all servers of the parent + its TTL)
//	Retired    at the same moment the one before it signs nothing any more; CDS and CDNSKEY no longer name it
//	Removed    Retired + the longest TTL of the zone + Spread: no cache holds a signature by it. Its DNSKEY leaves the zone, the private key the file
//
// A KeySet knows all these times beforehand, so that nodes which got it at different moments, or which hear nothing of anybody, change at the same
// second. Only people and the parent take time; Roll, SeeDS and Retire record what they did and refuse what would break the chain of trust.
// Keys are never revoked in the sense of RFC 5011: nobody should configure them as trust anchors, their DS is what is trusted.
//
// # Signing
//
// A Signer has an immutable key set behind an atomic pointer. It remembers signatures in two caches of fixed size: those of what the zone has, which
// are few, and those of names that anyone may invent, which must not push the former out. A signature is good from an hour ago, for clocks
// that are late, until seven days ahead, and made anew when a third of that is left. Both caches are read without a lock.
//
// Names that anyone may invent are signed under two limits: a share of the processors, and a rate for each network of clients (/24, /56).
// Beyond them the caller gets ErrBusy. Over UDP it then answers with TC and nothing else: a resolver that is meant comes back over TCP,
// which proves its address, while the answer to a forged address is no larger than its query. SERVFAIL in its place would let whoever forges the
// address of a resolver make that resolver believe that the zone is broken. Over TCP the limits are separate, and SERVFAIL is right.
//
// # Failure
//
// Without an active key nothing is signed: ErrUnsigned. A key set that does not parse, belongs to another zone or is older than the one in use is
// refused with an error and changes nothing. The package starts one kind of goroutine, Store.Follow, which its caller runs and ends.
package sign
