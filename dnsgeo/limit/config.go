package limit

import (
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Config says what a Limiter allows.
type Config struct {
	// Rates are answers per second to one network, by class; 0 does not limit the class.
	Rates [len(Classes)]int
	All   int // answers per second of all classes together; 0 does not limit them

	Burst time.Duration // how long a network may take at once what it is allowed in this time, MinBurst to MaxBurst; DefaultBurst when 0
	// Slip is which of the answers beyond the rate are sent truncated and empty: 1 all, 2 every second one …, up to MaxSlip; 0 drops them all, and
	// with that everybody whose address is forged.
	Slip int

	// IPv4 and IPv6 are how many bits of an address tell a network; DefaultIPv4 and DefaultIPv6 when 0.
	IPv4, IPv6 int
	Exempt     []netip.Prefix // networks that are not limited, at most MaxExempt

	Buckets int // size of the table, 8 bytes each, rounded up to a power of two; DefaultBuckets when 0, at most MaxBuckets
}

// The bounds and defaults of a Config.
const (
	MaxRate        = 100_000 // answers per second
	MinBurst       = time.Second
	DefaultBurst   = 2 * time.Second
	MaxBurst       = 15 * time.Second
	MaxSlip        = 10
	DefaultIPv4    = 24
	DefaultIPv6    = 56
	MaxExempt      = 10_000
	DefaultBuckets = 1 << 18 // 2 MiB
	MaxBuckets     = 1 << 26
)

// Wrong is what is wrong with a Config.
type Wrong struct {
	Key    string // the class whose rate it is, "all", "burst", "slip", "ipv4", "ipv6", "exempt" or "buckets"
	Reason string // a sentence that says what to write
}

// Error implements error.
func (w *Wrong) Error() string { return "response rate limit: " + w.Key + ": " + w.Reason }

// Check returns what is wrong with the configuration, as a *Wrong.
func (c Config) Check() error {
	for class, rate := range append(slices.Clone(c.Rates[:]), c.All) {
		if rate < 0 || rate > MaxRate {
			return &Wrong{Class(class).String(), fmt.Sprintf("%d is no rate; write 0 to %d answers per second", rate, MaxRate)}
		}
	}
	between := func(key string, v, least, most int) error {
		if v < least || v > most {
			return &Wrong{key, fmt.Sprintf("%d is not between %d and %d", v, least, most)}
		}
		return nil
	}
	for _, err := range []error{
		between("slip", c.Slip, 0, MaxSlip), between("ipv4", c.IPv4, 0, 32), between("ipv6", c.IPv6, 0, 128), between("buckets", c.Buckets, 0, MaxBuckets),
	} {
		if err != nil {
			return err
		}
	}
	if c.Burst != 0 && (c.Burst < MinBurst || c.Burst > MaxBurst) {
		return &Wrong{"burst", fmt.Sprintf("%v is not between %v and %v", c.Burst, MinBurst, MaxBurst)}
	}
	if len(c.Exempt) > MaxExempt {
		return &Wrong{"exempt", fmt.Sprintf("%d networks are listed; at most %d can be", len(c.Exempt), MaxExempt)}
	}
	for _, p := range c.Exempt {
		if !p.IsValid() {
			return &Wrong{"exempt", "one of the networks is none; write them as 192.0.2.0/24 or 2001:db8::/32"}
		}
	}
	return nil
}

// New makes a Limiter; now is any moment before its first use.
func New(c Config, now time.Time) (*Limiter, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.IPv4, DefaultIPv4)
	def(&c.IPv6, DefaultIPv6)
	def(&c.Buckets, DefaultBuckets)
	if c.Burst == 0 {
		c.Burst = DefaultBurst
	}
	l := &Limiter{
		lines: make([]line, 1<<bits.Len(uint(max(c.Buckets-1, 0)/ways))),
		seed:  maphash.MakeSeed(), start: now, slip: uint64(c.Slip),
		burst:  uint64(c.Burst / time.Microsecond),
		v4:     math.MaxUint32 << (32 - c.IPv4),
		exempt: outermost(c.Exempt),
	}
	l.v6[0] = math.MaxUint64 << (64 - min(c.IPv6, 64))
	l.v6[1] = math.MaxUint64 << (128 - max(c.IPv6, 64))
	for class, rate := range append(slices.Clone(c.Rates[:]), c.All) {
		if rate > 0 {
			l.interval[class] = uint64((1_000_000 + rate - 1) / rate) // rounded so that the rate is not exceeded
		}
	}
	return l, nil
}

// outermost returns the networks sorted, without those that lie in another.
func outermost(in []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range in {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	kept := out[:0]
	for _, p := range out {
		if n := len(kept); n == 0 || !kept[n-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return kept
}
