package geo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// BuildOptions say what the table is to tell about itself.
type BuildOptions struct {
	// Source, Licence and Attribution go into the passport; each is required, because a table is made to be passed on.
	Source, Licence, Attribution string
	// Built is when the publisher built the data; the newest of the sources' own dates when zero.
	Built time.Time
}

// Stats is what Build made.
type Stats struct {
	Places     int // distinct pairs of country and cell
	Runs4      int // runs of IPv4 /24 networks with one place
	Runs6      int // runs of IPv6 /48 networks with one place
	Size       int // bytes written
	Unresolved int // places of the sources that have no coordinates; their networks are left out
}

// Build reads city databases (.mmdb, see Open) and writes the compact table made of them: for every IPv4 /24 and every
// IPv6 /48 the country and quarter-degree cell that holds most of its known addresses. The same sources and options
// always give the same bytes.
func Build(w io.Writer, files []string, o BuildOptions) (Stats, error) {
	if o.Source == "" || o.Licence == "" || o.Attribution == "" {
		return Stats{}, errors.New("build geo table: say which source, under which licence and with which attribution")
	}
	c := newCompiler(tableUnit4, tableUnit6)
	var s Stats
	p, err := (&sources{places: c}).compile(files, func(p Place) Place {
		if !p.Known {
			s.Unresolved++
			return Place{}
		}
		lat, lon := cellOf(p.Lat, p.Lon).centre()
		return Place{Country: p.Country, Lat: lat, Lon: lon, Known: true}
	})
	if err != nil {
		return Stats{}, fmt.Errorf("build geo table: %w", err)
	}
	places, runs, err := c.finish()
	if err != nil {
		return Stats{}, fmt.Errorf("build geo table: %w", err)
	}
	p.Source, p.Licence, p.Attribution = o.Source, o.Licence, o.Attribution
	if !o.Built.IsZero() {
		p.Built = o.Built
	}
	places, runs = sorted(places, runs)
	db := newDB(places, runs, p)
	s.Places, s.Runs4, s.Runs6 = len(places)-1, len(runs.v4.low), len(runs.v6.low)
	s.Size, err = encodeTable(w, db)
	if err != nil {
		return Stats{}, fmt.Errorf("build geo table: %w", err)
	}
	return s, nil
}

// sorted numbers the places that occur anew by country, row and column: what is near gets near numbers, which
// compress better. Places that won no unit are dropped.
func sorted(places []Place, runs *Runs) ([]Place, *Runs) {
	used := make([]bool, len(places))
	for _, n := range runs.v4.each {
		used[n] = true
	}
	for _, n := range runs.v6.each {
		used[n] = true
	}
	var order []uint32
	for n := 1; n < len(places); n++ {
		if used[n] {
			order = append(order, uint32(n))
		}
	}
	slices.SortFunc(order, func(a, b uint32) int {
		p, q := places[a], places[b]
		return cmp.Or(cmp.Compare(p.Country, q.Country), cmp.Compare(p.Lat, q.Lat), cmp.Compare(p.Lon, q.Lon))
	})
	of := make([]uint32, len(places))
	out := []Place{{}}
	for _, n := range order {
		of[n] = uint32(len(out))
		out = append(out, places[n])
	}
	return out, runs.Group(of)
}
