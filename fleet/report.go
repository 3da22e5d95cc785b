package fleet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"perigee/object"
	"perigee/purge"
)

// ReportEvery is how often a node reports.
const ReportEvery = 500 * time.Millisecond

// DeadAfter is how long a node may be silent before it counts as down: two lost reports and some jitter.
const DeadAfter = 1400 * time.Millisecond

// Role says what a node does.
type Role string

// The roles of nodes.
const (
	RoleEdge Role = "edge"
	RoleDNS  Role = "dns"
	RoleAPI  Role = "api"
)

// State is what a node says of itself.
type State string

// The states of a node. Only a Ready edge is given to new clients.
const (
	Starting State = "starting" // not serving yet
	Ready    State = "ready"
	Draining State = "draining" // serving, but asks for no new clients
	Stopping State = "stopping" // about to exit on purpose; the last report of a node
)

// Place is where a node stands.
type Place struct {
	Name    string  `json:"name"`    // for people: "Frankfurt"
	Country string  `json:"country"` // ISO 3166-1 alpha-2
	Lat     float64 `json:"lat"`     // degrees north
	Lon     float64 `json:"lon"`     // degrees east
}

// Load is what a node is doing now; steering and scaling read it.
type Load struct {
	Requests float64 `json:"rps"`      // requests per second over the last second
	Conns    int     `json:"conns"`    // open client connections
	CPU      float64 `json:"cpu"`      // share of the machine's processors this process uses, 0 to 1
	Memory   int64   `json:"mem"`      // bytes of memory obtained from the system
	Sent     float64 `json:"sent_bps"` // bytes per second sent to clients over the last second
	// Headroom is the share of the node's capacity that is free, 0 to 1; 1 when no capacity is configured.
	Headroom float64 `json:"headroom"`
	// Capacity is what the node can send to clients, in bytes per second; 0 when none is configured. Headroom is a share of it.
	Capacity float64 `json:"capacity_bps,omitempty"`
}

// CacheUse is how full an edge's cache is.
type CacheUse struct {
	Objects   int64 `json:"objects"`
	Bytes     int64 `json:"bytes"`      // on disk
	Limit     int64 `json:"limit"`      // bytes on disk allowed
	RAM       int64 `json:"ram"`        // bytes in memory
	Hits      int64 `json:"hits"`       // since the start
	Misses    int64 `json:"misses"`     // since the start
	OriginOut int64 `json:"origin_out"` // bytes read from the origin since the start
}

// Report is the state of one node at one moment.
type Report struct {
	Format int    `json:"format"` // 1
	Node   string `json:"node"`   // unique name: an LDH label
	Role   Role   `json:"role"`
	Boot   string `json:"boot"` // random per start of the process, so that a restart is seen
	Seq    uint64 `json:"seq"`  // rises by one with each report of a boot

	State State `json:"state"`
	Place Place `json:"place"`
	// Addrs is where clients reach the node; what DNS answers.
	Addrs []netip.AddrPort `json:"addrs,omitempty"`
	Load  Load             `json:"load"`
	Cache *CacheUse        `json:"cache,omitempty"`
	// Position is how far the node has applied the log.
	Position purge.Position `json:"position,omitzero"`
	// Lease is how long, in milliseconds, the node's knowledge of the log is still good; 0 when expired.
	Lease   int64  `json:"lease_ms"`
	Version string `json:"version"` // of the software

	// Probes is what the node's own prober found, by the name of the edge; empty while it has no verdict, or is Blind.
	Probes map[string]Verdict `json:"probes,omitempty"`
	// Blind says that none of the node's probes gets through, so that it takes its own network for broken and judges nobody.
	Blind bool `json:"blind,omitempty"`
	// RTT is a part of what the edge has measured of its clients since its last reports; other parts come with the next ones.
	RTT []PrefixRTT `json:"rtt,omitempty"`
}

// The bounds of a report. One that is full to them is shorter than MaxReportBytes.
const (
	MaxReportBytes = 16 << 10
	MaxAddrs       = 16
	MaxProbes      = 64
	MaxRTT         = 64
	maxText        = 128 // bytes of a place's name, and of a version
	maxWord        = 24  // bytes of Verdict.Err
)

// Verdict is what a prober thinks of an edge.
type Verdict struct {
	Up bool `json:"up"`
	// For is how long the verdict has stood, in milliseconds. It is no point in time, as the clocks of two nodes differ.
	For int64 `json:"for_ms"`
	// Err is the word for the last failure, also of an edge that is up again: of a-z and '-'; "" when there was none.
	Err string `json:"err,omitempty"`
}

// PrefixRTT is the time packets take to the clients of one network and back.
type PrefixRTT struct {
	Prefix netip.Prefix `json:"p"`  // an IPv4 /24 or an IPv6 /48, never an address
	Micros uint32       `json:"us"` // median round trip in microseconds
	N      uint16       `json:"n"`  // connections measured since the prefix was last reported
}

// MaxMicros is the longest round trip that is reported: a minute.
const MaxMicros = 60_000_000

// Validate checks what others compute with. Errors wrap object.ErrInvalid.
func (r *Report) Validate() error {
	if r.Format != 1 {
		return fmt.Errorf("report: %w: format %d is not known to this version", object.ErrInvalid, r.Format)
	}
	if _, err := object.ParseSite(r.Node); err != nil {
		return fmt.Errorf("report: %w: node name %q", object.ErrInvalid, r.Node)
	}
	switch r.State {
	case Starting, Ready, Draining, Stopping:
	default:
		return fmt.Errorf("report of %s: %w: state %q", r.Node, object.ErrInvalid, r.State)
	}
	if !(r.Place.Lat >= -90 && r.Place.Lat <= 90 && r.Place.Lon >= -180 && r.Place.Lon <= 180) {
		return fmt.Errorf("report of %s: %w: coordinates %v, %v", r.Node, object.ErrInvalid, r.Place.Lat, r.Place.Lon)
	}
	if len(r.Addrs) > MaxAddrs || len(r.Place.Name) > maxText || len(r.Place.Country) > maxText || len(r.Version) > maxText || len(r.Boot) > maxText {
		return fmt.Errorf("report of %s: %w: more than %d addresses, or a text of more than %d bytes", r.Node, object.ErrInvalid, MaxAddrs, maxText)
	}
	if err := r.validateProbes(); err != nil {
		return err
	}
	return r.validateRTT()
}

func (r *Report) validateProbes() error {
	if len(r.Probes) > MaxProbes {
		return fmt.Errorf("report of %s: %w: %d verdicts, at most %d", r.Node, object.ErrInvalid, len(r.Probes), MaxProbes)
	}
	for edge, v := range r.Probes {
		if _, err := object.ParseSite(edge); err != nil || v.For < 0 || len(v.Err) > maxWord || strings.Trim(v.Err, "abcdefghijklmnopqrstuvwxyz-") != "" {
			return fmt.Errorf("report of %s: %w: verdict %+v of edge %.80q", r.Node, object.ErrInvalid, v, edge)
		}
	}
	return nil
}

func (r *Report) validateRTT() error {
	if len(r.RTT) > MaxRTT {
		return fmt.Errorf("report of %s: %w: round trips to %d prefixes, at most %d", r.Node, object.ErrInvalid, len(r.RTT), MaxRTT)
	}
	for _, s := range r.RTT {
		a, bits := s.Prefix.Addr(), s.Prefix.Bits()
		if !(a.Is4() && bits == 24 || a.Is6() && !a.Is4In6() && bits == 48) || s.Prefix != s.Prefix.Masked() || s.Micros == 0 || s.Micros > MaxMicros || s.N == 0 {
			return fmt.Errorf("report of %s: %w: round trip %+v", r.Node, object.ErrInvalid, s)
		}
	}
	return nil
}

// EncodeReport encodes r for the bus.
func EncodeReport(r *Report) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("fleet: a Report always marshals: " + err.Error())
	}
	return b
}

// DecodeReport decodes and validates a report of at most 64 KiB. Fields it does not know are left out, as a fleet is never of one version while it is
// being upgraded; what it knows must be right, to the last byte. Errors wrap object.ErrInvalid.
func DecodeReport(b []byte) (*Report, error) {
	if len(b) > 64<<10 {
		return nil, fmt.Errorf("report: %w: %d bytes", object.ErrInvalid, len(b))
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("report: %w: %v", object.ErrInvalid, err)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return &r, nil
}
