package dnsgeo

import (
	"strings"

	"github.com/miekg/dns"
)

// Names is an immutable set of steered names: the hosts of sites that lie inside the zone.
type Names struct {
	hosts map[string]bool // canonical name -> steered; false for a name that only has steered names below it
}

// NewNames returns the set of those of hosts that are zone or lie below it. Case and a trailing dot do not matter.
// Hosts elsewhere are left out: their owners point them here with records of their own.
func NewNames(zone string, hosts []string) *Names {
	zone = dns.CanonicalName(zone)
	n := &Names{hosts: make(map[string]bool, len(hosts))}
	for _, h := range hosts {
		name := dns.CanonicalName(h)
		if _, ok := dns.IsDomainName(name); !ok || name == "." || !dns.IsSubDomain(zone, name) {
			continue
		}
		n.hosts[name] = true
		// The names between a host and the zone exist too, though they own nothing (RFC 4592 §2.2.2).
		for name != zone {
			name = parent(name)
			if name == zone || n.hosts[name] {
				break
			}
			n.hosts[name] = false
		}
	}
	return n
}

// Len returns the number of steered names.
func (n *Names) Len() int {
	steered := 0
	for _, s := range n.hosts {
		if s {
			steered++
		}
	}
	return steered
}

// find reports whether the canonical name is steered and whether it exists because of a steered name.
func (n *Names) find(name string) (steered, exists bool) {
	if n == nil {
		return false, false
	}
	steered, exists = n.hosts[name]
	return steered, exists
}

// parent returns name without its first label; the parent of a top-level name is the root.
func parent(name string) string {
	if i, end := dns.NextLabel(name, 0); !end {
		return name[i:]
	}
	return "."
}

// lower is the canonical form of a name as dns unpacks it: ASCII letters only, since other bytes are escaped.
func lower(name string) string { return strings.ToLower(name) }
