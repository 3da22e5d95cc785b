// Package geotest writes small MaxMind-format databases, for tests of what reads them.
//
// It is not for production: files go to the test's own directory and live as long as the test.
package geotest

import (
	"bytes"
	"cmp"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Records are the records of a database by network, such as "81.2.69.0/24".
type Records map[string]mmdbtype.Map

// Epoch is when databases are built that do not say otherwise, in seconds since 1970.
const Epoch = 1_700_000_000

// Write writes a database of a type, built at Epoch, and returns its path.
func Write(t testing.TB, databaseType string, r Records) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.mmdb")
	WriteFile(t, path, databaseType, Epoch, r)
	return path
}

// WriteFile writes a database of a type, built at an epoch, to a path.
func WriteFile(t testing.TB, path, databaseType string, epoch int64, r Records) {
	t.Helper()
	if err := os.WriteFile(path, Bytes(t, databaseType, epoch, r), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Bytes returns a database of a type, built at an epoch.
func Bytes(t testing.TB, databaseType string, epoch int64, r Records) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: databaseType, BuildEpoch: epoch, IncludeReservedNetworks: true, DisableIPv4Aliasing: true})
	if err != nil {
		t.Fatal(err)
	}
	// Short prefixes first: what is inserted later wins.
	length := func(a, b string) int {
		return cmp.Or(cmp.Compare(netip.MustParsePrefix(a).Bits(), netip.MustParsePrefix(b).Bits()), cmp.Compare(a, b))
	}
	for _, network := range slices.SortedFunc(maps.Keys(r), length) {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(n, r[network]); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Nested is a record of the GeoIP2 schema; coordinates are latitude and longitude, or none.
func Nested(country, city string, coordinates ...float64) mmdbtype.Map {
	m := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(country)}}
	if city != "" {
		m["city"] = mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(city)}}
	}
	if len(coordinates) == 2 {
		m["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(coordinates[0]), "longitude": mmdbtype.Float64(coordinates[1])}
	}
	return m
}

// In returns the record with subdivisions of these ISO 3166-2 codes, the largest first.
func In(m mmdbtype.Map, codes ...string) mmdbtype.Map {
	m = maps.Clone(m)
	var list mmdbtype.Slice
	for _, c := range codes {
		list = append(list, mmdbtype.Map{"iso_code": mmdbtype.String(c)})
	}
	m["subdivisions"] = list
	return m
}

// Flat is a record of the schema of ip-location-db; state is the name of the region.
func Flat(country, state, city string, lat, lon float32) mmdbtype.Map {
	return mmdbtype.Map{"country_code": mmdbtype.String(country), "city": mmdbtype.String(city),
		"latitude": mmdbtype.Float32(lat), "longitude": mmdbtype.Float32(lon), "state1": mmdbtype.String(state)}
}

// Owner is a record of an ASN database.
func Owner(asn uint32, name string) mmdbtype.Map {
	return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(asn), "autonomous_system_organization": mmdbtype.String(name)}
}
