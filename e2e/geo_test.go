package e2e

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// cityDatabase writes an operator's .mmdb that has London's network in Singapore and all other addresses in New York.
func cityDatabase(t *testing.T, file string) {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true, DisableIPv4Aliasing: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []struct {
		network string
		place   mmdbtype.Map
	}{{"::/0", city("US", 40.71, -74.0)}, {"81.2.69.0/24", city("SG", 1.35, 103.82)}} { // the wider one first: the later one wins
		_, network, err := net.ParseCIDR(n.network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(network, n.place); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
}

func city(country string, lat, lon float64) mmdbtype.Map {
	return mmdbtype.Map{
		"country":  mmdbtype.Map{"iso_code": mmdbtype.String(country)},
		"location": mmdbtype.Map{"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon)},
	}
}

// TestGeoUpdate puts an operator's database into use while DNS serves, and is refused one that is no database.
func TestGeoUpdate(t *testing.T) {
	s := up(t)
	london := places[0].network
	if got := chosen(t, s, "udp", london); got != s.Edges["fra"] {
		t.Fatalf("with the built-in table London goes to %s", got)
	}
	bad := filepath.Join(t.TempDir(), "bad.mmdb")
	if err := os.WriteFile(bad, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Perigee(within(t, long), "geo", "update", "--data", s.Dir, bad); err == nil {
		t.Errorf("a broken database was taken: %s", out)
	}
	good := filepath.Join(t.TempDir(), "good.mmdb")
	cityDatabase(t, good)
	if out, err := s.Perigee(within(t, long), "geo", "update", "--data", s.Dir, good); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, "the new database is in use", func() bool { return chosen(t, s, "udp", london) == s.Edges["sin"] })
	if code, err := s.Interrupt(within(t, long)); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	start(t, s)
	if got := chosen(t, s, "udp", london); got != s.Edges["sin"] {
		t.Errorf("after a restart London goes to %s", got)
	}
}
