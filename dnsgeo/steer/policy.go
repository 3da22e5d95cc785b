package steer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"perigee/dnsgeo/geo"
)

// The bounds of a policy.
const (
	MaxAnswers   = 8    // edges in one answer
	MaxOverrides = 4096 // overrides
	MaxLists     = 256  // different lists of edges in them
	MaxListed    = 512  // edges in one list, those of its groups included
)

// Rules is a policy as people write it. The zero Rules is the default: the nearest edge, one per answer.
type Rules struct {
	// Groups names lists of edges for use in overrides.
	Groups map[string][]string `json:"groups,omitempty"`
	// Overrides say where the clients of some networks and places go. Of several that fit a client one counts: the longest subnet, else ASN, else
	// region, else country, else continent.
	Overrides []Override `json:"overrides,omitempty"`
	// Edges tells about single edges, by name. Edges that are not in the fleet are allowed: they come and go.
	Edges map[string]EdgeRules `json:"edges,omitempty"`
	// Ring makes edges that are almost as near as the nearest share the clients.
	Ring Ring `json:"ring,omitzero"`
	// Answers is how many edges an answer has at most, each of another failure domain: 1 to MaxAnswers; 0 stands for 1.
	Answers int `json:"answers,omitempty"`
	// Capacity keeps edges from being sent more than they can serve.
	Capacity CapacityRules `json:"capacity,omitzero"`
	// Latency lets measured round trips correct the order by distance.
	Latency LatencyRules `json:"latency,omitzero"`
}

// Override sends the clients of one network or place to named edges. Exactly one of Subnet, ASN, Region, Country and Continent is set.
type Override struct {
	Subnet    netip.Prefix `json:"subnet,omitzero"`     // IPv4, or IPv6 up to /64
	ASN       uint32       `json:"asn,omitempty"`       // number of the autonomous system
	Region    string       `json:"region,omitempty"`    // ISO 3166-2, such as "DE-BY"
	Country   string       `json:"country,omitempty"`   // ISO 3166-1 alpha-2, such as "DE"
	Continent string       `json:"continent,omitempty"` // AF, AN, AS, EU, NA, OC or SA
	// Edges lists names of edges, best first; "@" and the name of a group stand for its edges, of which the nearest comes first.
	Edges []string `json:"edges"`
	// Only leaves out all other edges, also when none of the listed is fit: then the one that most likely still serves is answered. A list of which
	// the fleet has no edge at all is void, because an answer is never empty. Without Only the other edges follow, nearest first.
	Only bool `json:"only,omitempty"`
}

// EdgeRules is the policy of one edge.
type EdgeRules struct {
	// Bias grows or shrinks the edge's region, -99 to 99 percent: b > 0 multiplies its distances by 1-b/100, b < 0 divides them by 1+b/100. It is
	// what Route 53 calls bias.
	Bias int `json:"bias,omitempty"`
	// Weight is the edge's share of clients among the edges of one ring, more than 0 and at most 1000; 0 stands for 1.
	Weight float64 `json:"weight,omitempty"`
	// Drain takes the edge out of the answers, as if it had asked for it.
	Drain bool `json:"drain,omitempty"`
	// Domain is what fails together: edges of one domain never stand in one answer. "" stands for the name and country of the edge's place.
	Domain string `json:"domain,omitempty"`
}

// Ring is how much farther than the nearest edge others may be to share its clients: the larger of the two. The zero Ring is one kilometre's rounding.
type Ring struct {
	KM      float64 `json:"km,omitempty"`      // 0 to 20000
	Percent float64 `json:"percent,omitempty"` // of the nearest edge's distance, 0 to 100
}

// limit is the distance up to which an edge belongs to the ring of one at km.
func (r Ring) limit(km float64) float64 { return km + max(r.KM, km*r.Percent/100) }

// CapacityRules say when clients are sent elsewhere and when they come back; see Balance.
type CapacityRules struct {
	// High is the share of its capacity up to which an edge is filled, more than Low and at most 1. 0 leaves capacity out of account.
	High float64 `json:"high,omitempty"`
	// Low is the share below which an edge takes clients back; 0 stands for nine tenths of High.
	Low float64 `json:"low,omitempty"`
	// Settle is how long loads need to follow a change: two TTLs or so. Meanwhile no load is measured anew and nobody comes back; 0 stands for a minute.
	Settle time.Duration `json:"settle_ns,omitempty"`
	// Hold is how long an edge must have been fit and below Low before clients come back to it; 0 stands for a minute.
	Hold time.Duration `json:"hold_ns,omitempty"`
	// Return is how long it takes for all clients of an edge to come back; 0 stands for five minutes.
	Return time.Duration `json:"return_ns,omitempty"`
}

// LatencyRules say when measured round trips count.
type LatencyRules struct {
	// Samples is how many samples a pair of client cell and edge needs, 1 or more; 0 leaves latency out of account.
	Samples int `json:"samples,omitempty"`
	// Step is the difference that counts: round trips are compared in whole steps. 0 stands for 5 ms.
	Step time.Duration `json:"step_ns,omitempty"`
}

// Policy is Rules that have been checked. It is immutable. The nil Policy is that of the zero Rules.
type Policy struct {
	rules     Rules
	overrides []override // 0 is none
	lists     []list     // 0 is that of no override
	subnets   *geo.Runs  // numbers of overrides; nil when there is none by subnet
	asn       map[uint32]int32
	region    map[string]int32
	country   map[string]int32
	continent map[string]int32 // by country
}

type override struct {
	name string // "subnet 192.0.2.0/24", "country DE"
	list int32
}

// list is the edges of overrides: classes of edge names, best first.
type list struct {
	classes [][]string
	only    bool
}

// NewPolicy checks rules. The errors, joined, say what to change.
func NewPolicy(r Rules) (*Policy, error) {
	p := &Policy{rules: r, overrides: []override{{}}, lists: []list{{}},
		asn: map[uint32]int32{}, region: map[string]int32{}, country: map[string]int32{}, continent: map[string]int32{}}
	errs := append(r.checkNumbers(), r.checkEdges()...)
	if len(r.Overrides) > MaxOverrides {
		errs = append(errs, fmt.Errorf("%d overrides; there can be %d: join neighbouring subnets", len(r.Overrides), MaxOverrides))
	} else if err := p.addOverrides(r); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("steering policy: %w", errors.Join(errs...))
	}
	c := &p.rules.Capacity
	if c.High > 0 {
		c.Low = cmp.Or(c.Low, 0.9*c.High)
		c.Settle, c.Hold, c.Return = cmp.Or(c.Settle, time.Minute), cmp.Or(c.Hold, time.Minute), cmp.Or(c.Return, 5*time.Minute)
	}
	p.rules.Answers = cmp.Or(p.rules.Answers, 1)
	p.rules.Latency.Step = cmp.Or(p.rules.Latency.Step, 5*time.Millisecond)
	return p, nil
}

// defaults returns the policy of the zero Rules.
func defaults() *Policy {
	return &Policy{rules: Rules{Answers: 1}, overrides: []override{{}}, lists: []list{{}}}
}

// Rules returns the rules with their defaults filled in. The caller must not change them.
func (p *Policy) Rules() Rules { return p.rules }

func (r *Rules) checkNumbers() (errs []error) {
	within := func(what string, v, low, high float64) {
		if !(v >= low && v <= high) {
			errs = append(errs, fmt.Errorf("%s is %v; it must be %v to %v", what, v, low, high))
		}
	}
	within("answers", float64(r.Answers), 0, MaxAnswers)
	within("ring.km", r.Ring.KM, 0, 20000)
	within("ring.percent", r.Ring.Percent, 0, 100)
	c := r.Capacity
	within("capacity.high", c.High, 0, 1)
	if c.High == 0 && c.Low != 0 {
		errs = append(errs, errors.New("capacity.low without capacity.high: set both, or neither to leave capacity out of account"))
	} else if c.Low < 0 || c.Low > 0 && c.Low >= c.High || math.IsNaN(c.Low) {
		errs = append(errs, fmt.Errorf("capacity.low is %v; it must be less than capacity.high, which is %v", c.Low, c.High))
	}
	for what, d := range map[string]time.Duration{"capacity.settle_ns": c.Settle, "capacity.hold_ns": c.Hold, "capacity.return_ns": c.Return} {
		within(what, float64(d), 0, float64(24*time.Hour))
	}
	within("latency.samples", float64(r.Latency.Samples), 0, math.MaxInt32)
	within("latency.step_ns", float64(r.Latency.Step), 0, float64(time.Second))
	return errs
}

func (r *Rules) checkEdges() (errs []error) {
	for name, e := range r.Edges {
		if name == "" || strings.HasPrefix(name, "@") {
			errs = append(errs, fmt.Errorf("edges: %q is no name of an edge", name))
		}
		if e.Bias < -99 || e.Bias > 99 {
			errs = append(errs, fmt.Errorf("edge %s: bias is %d; it must be -99 to 99", name, e.Bias))
		}
		if !(e.Weight >= 0 && e.Weight <= 1000) {
			errs = append(errs, fmt.Errorf("edge %s: weight is %v; it must be more than 0 and at most 1000 (to take an edge out, drain it)", name, e.Weight))
		}
	}
	for name, edges := range r.Groups {
		if len(edges) == 0 {
			errs = append(errs, fmt.Errorf("group %s has no edges", name))
		}
		for _, e := range edges {
			if e == "" || strings.HasPrefix(e, "@") {
				errs = append(errs, fmt.Errorf("group %s: %q is no name of an edge; groups do not nest", name, e))
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errs
}
