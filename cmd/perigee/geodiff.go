package main

import (
	"fmt"
	"net/netip"
	"strings"

	"perigee/dnsgeo/geo"
)

// builtInData names the table in the binary where a file is asked for.
const builtInData = "built-in"

// maxListed limits the moves that are listed.
const maxListed = 10_000

type geoDiffCmd struct {
	Km  float64 `default:"100" placeholder:"KM" help:"How far a place must be from where it was to have moved."`
	Top int     `default:"20" placeholder:"N" help:"How many of the largest moves to list, 10000 at most."`
	Old string  `arg:"" help:"A database, or several that complete each other, separated by commas, or built-in."`
	New string  `arg:"" help:"What to compare it with."`
}

// Run compares two databases.
func (c *geoDiffCmd) Run(a *app) error {
	if !(c.Km >= 0) || c.Top < 0 || c.Top > maxListed {
		return fmt.Errorf("--km is not negative, and --top is between 0 and %d", maxListed)
	}
	old, err := c.open(c.Old)
	if err != nil {
		return err
	}
	next, err := c.open(c.New)
	if err != nil {
		return err
	}
	d := geo.Diff(old, next, c.Km, c.Top)
	if a.JSON {
		if d.Largest == nil {
			d.Largest = []geo.Move{}
		}
		return a.printJSON(struct {
			Old geo.Passport `json:"old"`
			New geo.Passport `json:"new"`
			Km  float64      `json:"km"`
			geo.Difference
		}{old.Passport(), next.Passport(), c.Km, d})
	}
	fmt.Fprintf(a.stdout, "%-32s  %12s  %12s\n", "share of the unicast space", "IPv4", "IPv6")
	for _, line := range []struct {
		what   string
		v4, v6 float64
	}{
		{"known before", d.IPv4.Before, d.IPv6.Before},
		{"known after", d.IPv4.After, d.IPv6.After},
		{"newly covered", d.IPv4.Gained, d.IPv6.Gained},
		{"lost", d.IPv4.Lost, d.IPv6.Lost},
		{fmt.Sprintf("moved more than %g km, or abroad", c.Km), d.IPv4.Moved, d.IPv6.Moved},
		{"of that, in another country", d.IPv4.Country, d.IPv6.Country},
	} {
		fmt.Fprintf(a.stdout, "%-32s  %12s  %12s\n", line.what, percent(line.v4), percent(line.v6))
	}
	for _, m := range d.Largest {
		fmt.Fprintf(a.stdout, "%s  %s  %.0f km\n    %s\n    %s\n", span(m.First, m.Last), percent(m.Share), m.Kilometres, placeText(m.From), placeText(m.To))
	}
	return nil
}

func (c *geoDiffCmd) open(files string) (*geo.DB, error) {
	if files == builtInData {
		return geo.Embedded()
	}
	return openGeo(strings.Split(files, ","))
}

// percent writes a share so that small ones are not rounded to nothing.
func percent(share float64) string {
	if share != 0 && share < 0.0001 {
		return fmt.Sprintf("%.1e %%", 100*share)
	}
	return fmt.Sprintf("%.3f %%", 100*share)
}

// span writes a range of addresses as a prefix where it is one.
func span(first, last netip.Addr) string {
	for bits := range first.BitLen() + 1 {
		p, err := first.Prefix(bits)
		if err == nil && p.Addr() == first && lastOf(p) == last {
			return p.String()
		}
	}
	return first.String() + " to " + last.String()
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
