package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"perigee/object"
)

// Fleet is a fleet that a file declares, for a DNS server without a bus.
type Fleet struct {
	// Names are the steered names, relative to the zone; "@" is the zone's own.
	Names []string    `json:"names"`
	Edges []FleetEdge `json:"edges"`
}

// FleetEdge is one edge of a Fleet.
type FleetEdge struct {
	Name  string       `json:"name"`  // unique: a-z, 0-9 and '-'
	Addrs []string     `json:"addrs"` // IP addresses that DNS answers with, one of each family at most
	Place FleetPlace   `json:"place"`
	Drain bool         `json:"drain"` // it serves, and gets no new clients
	Down  bool         `json:"down"`
	IPs   []netip.Addr `json:"-"` // Addrs, parsed
}

// FleetPlace is where an edge stands.
type FleetPlace struct {
	Name    string  `json:"name"`
	Country string  `json:"country"` // ISO 3166-1 alpha-2
	Lat     float64 `json:"lat"`     // degrees north
	Lon     float64 `json:"lon"`     // degrees east
}

// ReadFleet reads the declaration of a fleet, YAML or JSON. The error, if not one of reading the file, is Mistakes.
func ReadFleet(path string) (*Fleet, error) {
	var f Fleet
	err := readTable(path, reflect.TypeFor[Fleet](), func(entry []byte) error {
		if err := unmarshalEntry(entry, &f); err != nil {
			return err
		}
		return f.check()
	})
	if err == nil && len(f.Names) == 0 {
		err = Mistakes{{Where: path, Key: "names", Problem: "it names no steered name, such as names: [www]"}}
	}
	if err != nil {
		return nil, err
	}
	return &f, nil
}

func (f *Fleet) check() error {
	var seen []string
	for i := range f.Edges {
		e := &f.Edges[i]
		if _, err := object.ParseSite(e.Name); err != nil {
			return fmt.Errorf("edge %q: a name is 1 to 63 characters of a-z, 0-9 and '-'", e.Name)
		}
		if slices.Contains(seen, e.Name) {
			return fmt.Errorf("edge %s is declared twice", e.Name)
		}
		seen = append(seen, e.Name)
		if p := e.Place; p.Lat < -90 || p.Lat > 90 || p.Lon < -180 || p.Lon > 180 {
			return fmt.Errorf("edge %s: lat is -90 to 90 and lon -180 to 180 degrees", e.Name)
		}
		if len(e.Addrs) == 0 {
			return fmt.Errorf("edge %s has no address in addrs", e.Name)
		}
		for _, s := range e.Addrs {
			a, err := netip.ParseAddr(s)
			if err != nil || a.IsUnspecified() || a.Zone() != "" {
				return fmt.Errorf("edge %s: %q is no address that clients could be sent to, such as 192.0.2.1", e.Name, s)
			}
			e.IPs = append(e.IPs, a.Unmap())
		}
	}
	for _, n := range f.Names {
		if n != "@" && (n == "" || len(n) > 253 || strings.HasSuffix(n, ".")) {
			return fmt.Errorf("name %q: a steered name is relative to the zone, such as www, or @ for the zone itself", n)
		}
	}
	return nil
}
