package geo

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// cityFiles returns the databases that the table was made of, when the environment names them.
func cityFiles(t *testing.T) []string {
	t.Helper()
	v := os.Getenv("PERIGEE_GEO_CITY")
	if v == "" {
		t.Skip("PERIGEE_GEO_CITY names no city databases; see table.provenance.md")
	}
	return filepath.SplitList(v)
}

func TestTableIsReproducible(t *testing.T) {
	p := embedded(t).Passport()
	var b bytes.Buffer
	s, err := Build(&b, cityFiles(t), BuildOptions{Source: p.Source, Licence: p.Licence, Attribution: p.Attribution})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s)
	if !bytes.Equal(b.Bytes(), table) {
		t.Error("Build makes another table of these sources than table.bin")
	}
}

// sites are six edges all over the world, and ten more.
var sites = []struct{ lat, lon float64 }{
	{50.11, 8.68}, {40.71, -74.01}, {1.35, 103.82}, {-33.87, 151.21}, {37.77, -122.42}, {-23.55, -46.63},
	{51.5, -0.13}, {35.68, 139.69}, {19.08, 72.88}, {-26.2, 28.05}, {25.2, 55.27}, {32.78, -96.8}, {48.85, 2.35}, {52.23, 21.01},
	{41.88, -87.63}, {25.76, -80.19},
}

// nearest returns which of the first n sites is nearest to p, and how far it is in km.
func nearest(p Place, n int) (site int, km float64) {
	km = math.Inf(1)
	for i, s := range sites[:n] {
		if d := distance(p.Lat, p.Lon, s.lat, s.lon); d < km {
			site, km = i, d
		}
	}
	return site, km
}

// distance is the great circle in km, by the haversine formula.
func distance(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	sin := func(d float64) float64 { s := math.Sin(d * rad / 2); return s * s }
	h := sin(lat2-lat1) + math.Cos(lat1*rad)*math.Cos(lat2*rad)*sin(lon2-lon1)
	return 2 * 6371 * math.Asin(min(1, math.Sqrt(h)))
}

// TestAccuracy compares the embedded table with the databases it was made of: does a client get the same edge? Random
// addresses weigh a network by its size, random networks weigh each network alike, which is harsher: small networks
// are where a table by /24 and /48 errs.
func TestAccuracy(t *testing.T) {
	full, err := Open(cityFiles(t)...)
	if err != nil {
		t.Fatal(err)
	}
	small := embedded(t)
	rng := rand.New(rand.NewPCG(3, 3))
	var starts4, starts6 []netip.Addr
	for first, n := range full.runs.v4.each {
		if n > 0 {
			starts4 = append(starts4, v4(first))
		}
	}
	for first, n := range full.runs.v6.each {
		if n > 0 {
			starts6 = append(starts6, v6(first))
		}
	}
	for _, x := range []struct {
		name  string
		pick  func() netip.Addr
		least float64 // share of clients that get the same of 6 edges
	}{
		{"random IPv4 addresses", func() netip.Addr { return v4(rng.Uint64()) }, 0.995},
		{"random IPv4 networks", func() netip.Addr { return starts4[rng.IntN(len(starts4))] }, 0.99},
		{"random IPv6 addresses", func() netip.Addr { return inside(rng, netip.MustParsePrefix("2000::/3")) }, 0.995},
		{"random IPv6 networks", func() netip.Addr { return starts6[rng.IntN(len(starts6))] }, 0.99},
	} {
		const clients = 200_000
		var known, same6, same16 int
		var extra float64
		for known < clients {
			a := x.pick()
			p, _ := full.Lookup(a)
			if !p.Known {
				continue
			}
			known++
			q, _ := small.Lookup(a)
			want6, km := nearest(p, 6)
			got6, _ := nearest(q, 6)
			want16, _ := nearest(p, 16)
			got16, _ := nearest(q, 16)
			if got6 == want6 {
				same6++
			}
			if got16 == want16 {
				same16++
			}
			extra += distance(p.Lat, p.Lon, sites[got6].lat, sites[got6].lon) - km
		}
		share := func(n int) float64 { return float64(n) / clients }
		t.Logf("%s: same edge of 6: %.2f%%, of 16: %.2f%%, mean detour with 6: %.1f km",
			x.name, 100*share(same6), 100*share(same16), extra/clients)
		if share(same6) < x.least {
			t.Errorf("%s: only %.2f%% get the same edge of 6", x.name, 100*share(same6))
		}
	}
}
