package pull

import (
	"strconv"
	"strings"
	"time"

	"perigee/edge/pull/rfc9111"
)

// Reason says why a request met what it met: the detail of Cache-Status, and the same word in log and metrics. Those of the rules are rfc9111's.
type Reason = rfc9111.Reason

// The reasons of this package.
const (
	ReasonAbsent        Reason = "not-held"       // nothing is stored for this key
	ReasonFilling       Reason = "filling"        // served behind a fill that was running
	ReasonVariant       Reason = "other-variant"  // something is, for other selecting fields
	ReasonPartlyHeld    Reason = "partly-held"    // some of the bytes are
	ReasonInvalidated   Reason = "invalidated"    // by an unsafe request, or by the answer to HEAD
	ReasonPurged        Reason = "purged"         // by the log
	ReasonValidated     Reason = "validated"      // the origin has confirmed what is stored
	ReasonUnsafe        Reason = "unsafe-method"  // not a method that is answered from a cache
	ReasonBody          Reason = "request-body"   // a GET with content: nobody knows what it means
	ReasonPrecondition  Reason = "precondition"   // If-Match and If-Unmodified-Since are the origin's to judge
	ReasonBypass        Reason = "bypass"         // a rule of the site
	ReasonNoLength      Reason = "no-length"      // the body ends with the connection: nobody knows whether it is complete
	ReasonTooLarge      Reason = "too-large"      // more than the site or the store keeps
	ReasonNotAdmitted   Reason = "not-admitted"   // the store did not want it
	ReasonOnlyIfCached  Reason = "only-if-cached" // the request wants nothing else
	ReasonOriginDown    Reason = "origin-unreachable"
	ReasonOriginTimeout Reason = "origin-timeout"
	ReasonOriginBad     Reason = "origin-invalid" // it sent something that is no HTTP message
	ReasonBadRequest    Reason = "bad-request"
	ReasonLoop          Reason = "loop" // the request has been here before
)

// Forward is the fwd parameter of RFC 9211 §2.2.
type Forward string

// Why a request went to the origin.
const (
	NotForwarded Forward = ""
	FwdBypass    Forward = "bypass"
	FwdMethod    Forward = "method"
	FwdURIMiss   Forward = "uri-miss"
	FwdVaryMiss  Forward = "vary-miss"
	FwdRequest   Forward = "request"
	FwdStale     Forward = "stale"
	FwdPartial   Forward = "partial"
)

// Outcome is what became of a request in the cache.
type Outcome struct {
	Fwd       Forward
	FwdStatus int // the origin's, if it differs from the answer's; else 0
	Reason    Reason
	Stored    bool
	Collapsed bool
	TTL       time.Duration // how long it stays fresh; negative, for how long it has not been
	HasTTL    bool
}

// Hit reports whether the origin was not asked.
func (o *Outcome) Hit() bool { return o.Fwd == NotForwarded }

// status returns the member of Cache-Status (RFC 9211 §2) that the cache of that name adds.
func (o *Outcome) status(node string) string {
	var b strings.Builder
	b.WriteString(node)
	if o.Hit() && o.HasTTL {
		b.WriteString("; hit")
	} else if !o.Hit() {
		b.WriteString("; fwd=" + string(o.Fwd))
	}
	if o.FwdStatus != 0 {
		b.WriteString("; fwd-status=" + strconv.Itoa(o.FwdStatus))
	}
	if o.HasTTL {
		b.WriteString("; ttl=" + strconv.FormatInt(int64(o.TTL/time.Second), 10))
	}
	if o.Stored {
		b.WriteString("; stored")
	}
	if o.Collapsed {
		b.WriteString("; collapsed")
	}
	if o.Reason != "" {
		b.WriteString("; detail=" + string(o.Reason))
	}
	return b.String()
}
