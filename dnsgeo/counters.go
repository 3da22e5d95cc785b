package dnsgeo

import "sync/atomic"

// Counters count since the start. Each is safe to read at any time.
type Counters struct {
	UDP       atomic.Uint64 // packets received over UDP
	TCP       atomic.Uint64 // messages received over TCP
	Dropped   atomic.Uint64 // of these, not answered: shorter than a header, responses, unpackable
	ECS       atomic.Uint64 // queries with a client-subnet option
	Steered   atomic.Uint64 // answers with the address of an edge
	LastGood  atomic.Uint64 // of these, given while no edge was fit
	Truncated atomic.Uint64 // answers that did not fit and carry TC
	Conns     atomic.Int64  // open TCP connections
	Compiled  atomic.Uint64 // steering maps compiled

	ZoneLoads        atomic.Uint64 // new versions of zones put in force after the start
	ZoneErrors       atomic.Uint64 // changed zone files that were refused
	Transfers        atomic.Uint64 // zones and differences of zones sent to secondaries
	TransfersRefused atomic.Uint64
	Notified         atomic.Uint64 // NOTIFY messages that a secondary has answered
	NotifyLost       atomic.Uint64 // secondaries that were given up for a version after all tries

	rcode [24]atomic.Uint64
}

// Rcode returns how many answers carried the response code, e.g. 0 for NOERROR and 3 for NXDOMAIN.
func (c *Counters) Rcode(code int) uint64 {
	if code < 0 || code >= len(c.rcode) {
		return 0
	}
	return c.rcode[code].Load()
}
