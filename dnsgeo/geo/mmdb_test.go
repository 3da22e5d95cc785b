package geo

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"perigee/dnsgeo/geo/geotest"
)

var (
	mmdb   = geotest.Write
	nested = geotest.Nested
)

func flat(country, city string, lat, lon float32) mmdbtype.Map {
	return geotest.Flat(country, "", city, lat, lon)
}

func TestOpenSchemas(t *testing.T) {
	london := Place{Country: "GB", City: "London", Lat: 51.5, Lon: -0.125, Known: true}
	geoip2 := geotest.Records{"81.2.69.0/24": nested("GB", "London", 51.5, -0.125), "2a00:1::/32": nested("GB", "London", 51.5, -0.125)}
	for _, x := range []struct {
		databaseType string
		records      geotest.Records
	}{
		{"GeoLite2-City", geoip2},
		{"GeoIP2-City", geoip2},
		{"DBIP-City-Lite", geoip2},
		{"Somebody's own", geoip2},
		{"city ipvAll", geotest.Records{"81.2.69.0/24": flat("GB", "London", 51.5, -0.125), "2a00:1::/32": flat("GB", "London", 51.5, -0.125)}},
	} {
		t.Run(x.databaseType, func(t *testing.T) {
			db, err := Open(mmdb(t, x.databaseType, x.records))
			if err != nil {
				t.Fatal(err)
			}
			for addr, network := range map[string]string{"81.2.69.142": "81.2.69.0/24", "::ffff:81.2.69.1": "81.2.69.0/24", "2a00:1::1": "2a00:1::/32"} {
				if p, n := db.Lookup(netip.MustParseAddr(addr)); p != london || n.String() != network {
					t.Errorf("%s: %+v in %v", addr, p, n)
				}
			}
			if p, n := db.Lookup(netip.MustParseAddr("81.2.70.1")); p != (Place{}) || n.String() != "81.2.70.0/23" {
				t.Errorf("an address the file does not know: %+v in %v", p, n)
			}
			pass := db.Passport()
			if !strings.Contains(pass.Source, x.databaseType) || pass.Built.Unix() != 1_700_000_000 || pass.Places != 1 {
				t.Errorf("passport %+v", pass)
			}
			if free := strings.Contains(x.databaseType, "Lite"); free != (pass.Attribution != "") {
				t.Errorf("attribution %q", pass.Attribution)
			}
		})
	}
}

func TestOpenKeepsSingleAddresses(t *testing.T) {
	db, err := Open(mmdb(t, "GeoLite2-City", geotest.Records{
		"10.0.0.0/8": nested("FR", "", 48.9, 2.35), "10.1.2.3/32": nested("DE", "", 50.1, 8.7), "2001:db8::/64": nested("DE", "", 50.1, 8.7)}))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{"10.1.2.3": "DE", "10.1.2.2": "FR", "10.1.2.4": "FR", "2001:db8::5": "DE", "2001:db8:0:1::": ""} {
		if p, _ := db.Lookup(netip.MustParseAddr(addr)); p.Country != want {
			t.Errorf("%s is in %q, want %q", addr, p.Country, want)
		}
	}
}

func TestOpenJoinsFiles(t *testing.T) {
	four := mmdb(t, "city ipv4", geotest.Records{"81.2.69.0/24": flat("GB", "London", 51.5, 0)})
	six := mmdb(t, "city ipv6", geotest.Records{"2a00:1::/32": flat("FR", "Paris", 48.9, 2.4)})
	db, err := Open(four, six)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{"81.2.69.1": "London", "2a00:1::": "Paris"} {
		if p, _ := db.Lookup(netip.MustParseAddr(addr)); p.City != want {
			t.Errorf("%s: %+v, want %s", addr, p, want)
		}
	}
	if _, err := Open(four, four); err == nil {
		t.Error("two files that both tell of the same networks were joined")
	}
}

func TestOpenCountryDatabase(t *testing.T) {
	db, err := Open(mmdb(t, "GeoLite2-Country", geotest.Records{
		"81.2.69.0/24": nested("GB", ""), "1.0.0.0/24": nested("AU", ""), "9.0.0.0/24": nested("ZZ", ""), "9.0.1.0/24": nested("US", "", 0, 0)}))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]struct{ lat, lon float64 }{"81.2.69.1": {52, -1}, "1.0.0.1": {-33, 148}, "9.0.1.1": {39, -90}} {
		p, _ := db.Lookup(netip.MustParseAddr(addr))
		if !p.Known || max(p.Lat-want.lat, want.lat-p.Lat) > 6 || max(p.Lon-want.lon, want.lon-p.Lon) > 35 {
			t.Errorf("%s: %+v, want somewhere near %+v", addr, p, want)
		}
	}
	if p, _ := db.Lookup(netip.MustParseAddr("9.0.0.1")); p != (Place{}) {
		t.Errorf("a country that does not exist: %+v", p)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.mmdb")
	if err := os.WriteFile(garbage, []byte("<html>404 Not Found</html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "table.bin")
	if err := os.WriteFile(damaged, append(smallTable(t), 0), 0o600); err != nil {
		t.Fatal(err)
	}
	owners := mmdb(t, "GeoLite2-ASN", geotest.Records{"1.0.0.0/24": {"autonomous_system_number": mmdbtype.Uint32(1)}})
	nowhere := mmdb(t, "city ipv4", geotest.Records{"1.0.0.0/24": {"city": mmdbtype.String("Atlantis")}})
	for _, x := range []struct {
		name, path, says string
		is               error
	}{
		{"missing file", filepath.Join(dir, "none.mmdb"), "none.mmdb", fs.ErrNotExist},
		{"directory", dir, "not a regular file", nil},
		{"garbage", garbage, "garbage.mmdb", nil},
		{"damaged table", damaged, "checksum", errDamaged},
		{"owners of networks", owners, "does not say where addresses are", nil},
		{"no known place", nowhere, "no network with a known place", nil},
	} {
		if db, err := Open(x.path); err == nil || db != nil {
			t.Errorf("%s was opened", x.name)
		} else if !strings.Contains(err.Error(), x.says) || x.is != nil && !errors.Is(err, x.is) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if _, err := Open(); err == nil {
		t.Error("no file was opened")
	}
}

// TestOpenEndsOnATreeOfKnots: a file of some hundred bytes whose every branch leads to the same next node has 2^32 leaves.
func TestOpenEndsOnATreeOfKnots(t *testing.T) {
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IPVersion: 4, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, n, err := net.ParseCIDR("0.0.0.0/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Insert(n, nested("GB", "London", 51.5, 0)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	file := b.Bytes()
	// The one network is always on the left: node i is {i+1, nothing}, the last one {data, nothing}.
	const node = 6
	nothing := bytes.Clone(file[3:node])
	for i := range 32 {
		copy(file[i*node+3:(i+1)*node], file[i*node:i*node+3])
	}
	if _, err := Open(writeTemp(t, file)); err == nil || !strings.Contains(err.Error(), "far more leaves than nodes") {
		t.Errorf("%v", err)
	}
	// The same without any data, and of a type whose records have to be looked at first.
	unknown := bytes.Replace(file, []byte("GeoLite2-City"), []byte("GeoLite2-Cite"), 1)
	copy(unknown[31*node:], append(nothing, nothing...))
	if _, err := Open(writeTemp(t, unknown)); err == nil {
		t.Error("a tree without an end was opened")
	}
}

// FuzzCompileFile feeds damaged files to the readers: they may refuse them, not panic.
func FuzzCompileFile(f *testing.F) {
	for _, path := range []string{"GeoLite2-City", "city ipv4"} {
		w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: path, BuildEpoch: 1})
		if err != nil {
			f.Fatal(err)
		}
		_, n, _ := net.ParseCIDR("81.2.69.0/24")
		for _, r := range []mmdbtype.Map{nested("GB", "London", 51.5, 0), flat("GB", "London", 51.5, 0)} {
			if err := w.Insert(n, r); err != nil {
				f.Fatal(err)
			}
		}
		var b strings.Builder
		if _, err := w.WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(b.String()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := sources{places: newCompiler(32, 64), owners: newCompiler(32, 64)}
		if _, _, err := s.compileFile(b, func(p Place) Place { return p }); err != nil {
			return
		}
		var p Passport
		if places, runs, err := s.finish(&p); err == nil {
			newDB(places, runs, p).Lookup(canaries[0])
		}
	})
}
