package geo

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"perigee/dnsgeo/geo/geotest"
)

func TestOpenJoinsOwners(t *testing.T) {
	city4 := mmdb(t, "city ipv4", geotest.Records{"81.2.69.0/24": flat("GB", "London", 51.5, 0), "81.2.70.0/24": flat("GB", "London", 51.5, 0)})
	city6 := mmdb(t, "city ipv6", geotest.Records{"2a00:1::/32": flat("FR", "Paris", 48.9, 2.4)})
	for _, owners := range []struct{ name, databaseType string }{
		{"GeoLite2", "GeoLite2-ASN"}, {"DB-IP", "DBIP-ASN-Lite (compat=GeoLite2-ASN)"}, {"ISP", "GeoIP2-ISP"}, {"ip-location-db", "asn ipvAll"},
	} {
		t.Run(owners.name, func(t *testing.T) {
			asn := mmdb(t, owners.databaseType, geotest.Records{
				"81.2.69.128/25": geotest.Owner(20712, "Andrews & Arnold"), "81.2.70.0/23": geotest.Owner(4200000000, "Private"),
				"2a00::/16": geotest.Owner(3215, "Orange"),
			})
			for _, paths := range [][]string{{city4, city6, asn}, {asn, city6, city4}} {
				db, err := Open(paths...)
				if err != nil {
					t.Fatal(err)
				}
				for addr, want := range map[string]struct {
					city, network string
					asn           uint32
					known         bool
				}{
					"81.2.69.1":   {"London", "81.2.69.0/25", 0, true},
					"81.2.69.200": {"London", "81.2.69.128/25", 20712, true},
					"81.2.70.9":   {"London", "81.2.70.0/24", 4200000000, true},
					"81.2.71.9":   {"", "81.2.71.0/24", 4200000000, false},
					"2a00:1::5":   {"Paris", "2a00:1::/32", 3215, true},
					"2a00:2::5":   {"", "2a00:2::/31", 3215, false},
					"9.9.9.9":     {"", "0.0.0.0/2", 0, false},
				} {
					p, n := db.Lookup(netip.MustParseAddr(addr))
					if p.City != want.city || p.ASN != want.asn || p.Known != want.known || n.String() != want.network {
						t.Errorf("%s: %+v in %v, want %+v", addr, p, n, want)
					}
				}
				if p := db.Passport(); p.Places != 2 || p.ASNs != 3 || len(p.Files) != 3 || len(p.Files[0].SHA256) != 64 {
					t.Errorf("passport %+v", p)
				}
			}
		})
	}
}

// TestPlacesAreCountedWithoutOwners: an Enterprise file has owners beside places.
func TestPlacesAreCountedWithoutOwners(t *testing.T) {
	record := func(city string, asn uint32) mmdbtype.Map {
		m := nested("US", city, 42.4, -71.1)
		m["traits"] = mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(asn)}
		return m
	}
	db, err := Open(mmdb(t, "GeoIP2-Enterprise", geotest.Records{"1.0.0.0/24": record("Boston", 0), "1.0.1.0/24": record("Boston", 3), "1.0.2.0/24": record("Boston", 4),
		"1.0.3.0/24": record("Salem", 4), "1.0.4.0/24": nested("", "")}))
	if err != nil {
		t.Fatal(err)
	}
	if p := db.Passport(); p.Places != 2 || p.ASNs != 2 || len(db.Places()) != 5 {
		t.Errorf("%d places, %d owners, %d both", p.Places, p.ASNs, len(db.Places())-1)
	}
}

func TestJoinIsBounded(t *testing.T) {
	places, owners := newCompiler(32, 64), newCompiler(32, 64)
	for i, network := range []string{"1.0.0.0/24", "1.0.1.0/24", "1.0.2.0/24"} {
		p := netip.MustParsePrefix(network)
		if err := places.add(p, places.numberOf(Place{Country: "AU", Lat: float64(i) + 1, Known: true})); err != nil {
			t.Fatal(err)
		}
		if err := owners.add(p, owners.numberOf(Place{ASN: uint32(i) + 1})); err != nil {
			t.Fatal(err)
		}
	}
	a, runsA, err := places.finish()
	if err != nil {
		t.Fatal(err)
	}
	b, runsB, err := owners.finish()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := join(a, runsA, b, runsB, 2); err == nil || !strings.Contains(err.Error(), "leave the ASN file away") {
		t.Errorf("%v", err)
	}
	if joined, _, err := join(a, runsA, b, runsB, 3); err != nil || len(joined) != 4 {
		t.Errorf("%d places, %v", len(joined), err)
	}
}

func TestOpenRegions(t *testing.T) {
	munich := geotest.In(nested("DE", "Munich", 48.1, 11.6), "BY", "XX")
	enterprise := geotest.In(nested("US", "Boston", 42.4, -71.1), "MA")
	enterprise["traits"] = mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(3)}
	for _, x := range []struct {
		databaseType string
		record       mmdbtype.Map
		region       string
		asn          uint32
	}{
		{"GeoLite2-City", munich, "BY", 0},
		{"GeoLite2-City", geotest.In(nested("DE", "Munich", 48.1, 11.6), "Bavaria"), "", 0},
		{"GeoLite2-City", nested("DE", "Munich", 48.1, 11.6), "", 0},
		{"Somebody's own", munich, "BY", 0},
		{"GeoIP2-Enterprise", enterprise, "MA", 3},
		{"DBIP-Location-ISP (compat=Enterprise)", enterprise, "MA", 3},
		{"city ipv4", geotest.Flat("DE", "Bavaria", "Munich", 48.1, 11.6), "BY", 0},
		{"city ipv4", geotest.Flat("DE", "State of Berlin", "Berlin", 52.5, 13.4), "BE", 0},
		{"city ipv4", geotest.Flat("FR", "Île-de-France", "Paris", 48.9, 2.4), "IDF", 0},
		{"city ipv4", geotest.Flat("BR", "Sao Paulo", "Santos", -23.9, -46.3), "SP", 0},
		{"city ipv4", geotest.Flat("US", "District of Columbia", "Washington", 38.9, -77), "DC", 0},
		{"city ipv4", geotest.Flat("RU", "St.-Petersburg", "", 59.9, 30.3), "SPE", 0},
		{"city ipv4", geotest.Flat("DE", "Atlantis", "", 48.1, 11.6), "", 0},
		{"city ipv4", geotest.Flat("AT", "Bavaria", "", 48.1, 11.6), "", 0},
	} {
		db, err := Open(mmdb(t, x.databaseType, geotest.Records{"81.2.69.0/24": x.record}))
		if err != nil {
			t.Fatal(err)
		}
		if p, _ := db.Lookup(netip.MustParseAddr("81.2.69.1")); p.Region != x.region || p.ASN != x.asn || !p.Known {
			t.Errorf("%s, %v: %+v, want region %q and AS%d", x.databaseType, x.record["state1"], p, x.region, x.asn)
		}
	}
}

// TestRegionNamesAreFolded: what the table is searched with has the form of what is in it.
func TestRegionNamesAreFolded(t *testing.T) {
	var r regions
	r.load()
	if len(r.code) < 5000 {
		t.Fatalf("%d names", len(r.code))
	}
	for key, code := range r.code {
		country, name, _ := strings.Cut(key, " ")
		if fold(name) != name || name == "" || validRegion(code) == "" || Continent(country) == "" {
			t.Errorf("%q = %q", key, code)
		}
	}
}

func TestVerify(t *testing.T) {
	good := geotest.Bytes(t, "city ipv4", 1, geotest.Records{"81.2.69.0/24": flat("GB", "London", 51.5, 0), "82.0.0.0/8": flat("FR", "Paris", 48.9, 2.4)})
	write := func(data []byte) string { return writeTemp(t, data) }
	if err := Verify(write(good)); err != nil {
		t.Error(err)
	}
	if err := Verify(write(smallTable(t))); err != nil {
		t.Error(err)
	}
	broken := 0
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0xff
		if Verify(write(bad)) != nil {
			broken++
		}
	}
	if broken < len(good)/4 {
		t.Errorf("of %d damaged files %d were noticed", len(good), broken)
	}
	for _, bad := range [][]byte{nil, []byte("<html>"), good[:len(good)/2], smallTable(t)[:50]} {
		if err := Verify(write(bad)); err == nil {
			t.Errorf("%d bytes of a file were taken for one", len(bad))
		}
	}
}
