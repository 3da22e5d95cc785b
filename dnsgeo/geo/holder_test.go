package geo

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"perigee/dnsgeo/geo/geotest"
)

var decoded = sync.OnceValues(Embedded)

func embedded(t testing.TB) *DB {
	t.Helper()
	db, err := decoded()
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// world is a database that knows every canary, with city as the city of all.
func world(t *testing.T, city string) string {
	records := make(geotest.Records)
	for _, a := range canaries {
		records[netip.PrefixFrom(a, a.BitLen()).String()] = nested("NL", city, 52, 5)
	}
	return mmdb(t, "GeoLite2-City", records)
}

func TestSwap(t *testing.T) {
	h := NewHolder(embedded(t))
	first := h.Current()
	damaged := filepath.Join(t.TempDir(), "x.mmdb")
	if err := os.WriteFile(damaged, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	small := mmdb(t, "GeoLite2-City", geotest.Records{"81.2.69.0/24": nested("GB", "London", 51.5, 0)})
	for path, says := range map[string]string{damaged: "x.mmdb", small: "8.8.8.8", small + "-none": "no such file"} {
		if err := h.Swap(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Swap(%s): %v, want an error that names %q", path, err, says)
		}
		if h.Current() != first {
			t.Fatalf("Swap(%s) failed and yet replaced the data", path)
		}
	}
	if err := h.Swap(world(t, "One")); err != nil {
		t.Fatal(err)
	}
	if p, _ := h.Current().Lookup(canaries[0]); p.City != "One" {
		t.Errorf("after Swap: %+v", p)
	}
	if p, _ := first.Lookup(canaries[0]); p.Country != "US" {
		t.Errorf("the old data, still held by a reader, now says %+v", p)
	}
}

func TestSwapUnderLookups(t *testing.T) {
	h := NewHolder(embedded(t))
	paths := []string{world(t, "One"), world(t, "Two")}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, a := range canaries {
					if p, n := h.Current().Lookup(a); !p.Known || !n.Contains(a) {
						t.Errorf("%v: %+v in %v", a, p, n)
						return
					}
				}
			}
		})
	}
	for i := range 20 {
		if err := h.Swap(paths[i%2]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
