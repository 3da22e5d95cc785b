package cache

// Forward says why a request went to the origin: the values of the "fwd" parameter, RFC 9211 §2.2.
type Forward string

// The reasons to forward that an engine has.
const (
	NotForwarded Forward = ""
	FwdURIMiss   Forward = "uri-miss" // the name was not known
	FwdMiss      Forward = "miss"     // the name was known, its bytes were not held
	FwdStale     Forward = "stale"    // the name had to be confirmed
	FwdPartial   Forward = "partial"  // some of the bytes were held
)

// Reason says more: the "detail" of RFC 9211 §2.8, and the same word in logs, metrics and explain.
type Reason string

// The reasons.
const (
	ReasonRAM           Reason = "ram"                // served from memory
	ReasonDisk          Reason = "disk"               // served from disk
	ReasonFilling       Reason = "filling"            // served behind a fill that was running
	ReasonNotHeld       Reason = "not-held"           // never had it, or evicted
	ReasonBlobHeld      Reason = "blob-held"          // only the pointer was asked for; the bytes were here
	ReasonPurged        Reason = "purged"             // a purge had named it
	ReasonLeaseRenewed  Reason = "lease-renewed"      // cut off from the log; the bucket confirmed the pointer
	ReasonLeaseExpired  Reason = "lease-expired"      // cut off from log and bucket; served what it had
	ReasonRefused       Reason = "partition-refused"  // the same, but the site refuses it
	ReasonAbsent        Reason = "absent"             // no such file
	ReasonDeleted       Reason = "deleted"            // the file was deleted
	ReasonPartlyHeld    Reason = "partly-held"        // had some of the bytes asked for
	ReasonNotAdmitted   Reason = "not-admitted"       // passed through: too seldom asked for to make room for it
	ReasonDiskFailed    Reason = "disk-failed"        // passed through
	ReasonErased        Reason = "erased"             // passed through: it was erased while it was on its way
	ReasonHealed        Reason = "damaged-on-disk"    // was found damaged and fetched again
	ReasonOriginDown    Reason = "origin-unreachable" // the origin did not answer
	ReasonOriginTimeout Reason = "origin-timeout"     // the origin did not answer in time
	ReasonOriginBad     Reason = "origin-corrupt"     // the origin's bytes are not what the pointer promised
	ReasonChanged       Reason = "object-changed"     // the object of a bucket site was overwritten meanwhile: asked for anew
	ReasonUnknownSite   Reason = "unknown-site"       // no site has this Host
	ReasonSitesUnknown  Reason = "sites-unknown"      // not one site could be learned since the start
	ReasonBadRequest    Reason = "bad-request"        // the request is malformed
	ReasonMethod        Reason = "method"             // neither GET nor HEAD
	ReasonRedirected    Reason = "redirected"         // by a rule of the site
	ReasonPreflight     Reason = "preflight"          // a rule of the site answers for other origins
)

// Outcome is what became of a request in the cache.
type Outcome struct {
	Fwd       Forward
	Reason    Reason
	Collapsed bool // it waited for another request's answer instead of asking the origin itself
	Stored    bool // what the origin sent is kept
	Stale     bool // the answer should have been confirmed and could not be
}

// Hit reports whether the origin was not asked.
func (o Outcome) Hit() bool { return o.Fwd == NotForwarded }

// And joins the outcome of finding the name (o) with that of finding the bytes: whichever went to the origin
// for more decides.
func (o Outcome) And(body Outcome) Outcome {
	switch {
	case o.Stale:
		body.Reason, body.Stale = o.Reason, true
		return body
	case o.Hit():
		return body
	case body.Hit():
		if o.Reason == ReasonNotHeld {
			o.Reason = ReasonBlobHeld
		}
		return o
	}
	o.Stored, o.Reason, o.Collapsed = body.Stored, body.Reason, body.Collapsed
	return o
}
