package geo

import (
	"errors"
	"path/filepath"
	"testing"

	"perigee/dnsgeo/geo/geotest"
)

// halves is a database that knows the canaries and, beside them, the IPv4 networks 20.0.0.0/8 to 29.0.0.0/8 and the IPv6 networks 2a00::/16 to 2a09::/16.
func halves() geotest.Records {
	r := geotest.Records{}
	for _, a := range canaries {
		p, _ := a.Prefix(a.BitLen())
		r[p.String()] = nested("NL", "", 52, 5)
	}
	for _, digit := range "0123456789" {
		r["2"+string(digit)+".0.0.0/8"] = nested("DE", "", 50, 8)
		r["2a0"+string(digit)+"::/16"] = nested("DE", "", 50, 8)
	}
	return r
}

// TestSwapRefuses: what is wrong with a new database, and that force takes it all the same.
func TestSwapRefuses(t *testing.T) {
	const epoch = geotest.Epoch
	without := func(networks ...string) geotest.Records {
		r := halves()
		for _, n := range networks {
			delete(r, n)
		}
		return r
	}
	abroad := halves()
	for _, n := range []string{"20.0.0.0/8", "21.0.0.0/8", "22.0.0.0/8"} {
		abroad[n] = nested("FR", "", 50, 8)
	}
	nearly := without("20.0.0.0/8")
	nearly["20.0.0.0/9"], nearly["20.128.0.0/10"] = nested("DE", "", 50, 8), nested("DE", "", 50, 8)
	nearly["20.192.0.0/11"] = nested("DE", "", 50, 8)
	enough := without("20.0.0.0/8")
	for _, n := range []string{"20.0.0.0/9", "20.128.0.0/10", "20.192.0.0/11", "20.224.0.0/12"} {
		enough[n] = nested("DE", "", 50, 8)
	}
	bare := halves()
	for _, a := range canaries[:3] {
		delete(bare, a.String()+"/32")
	}
	for _, x := range []struct {
		name    string
		epoch   int64
		records geotest.Records
		reason  Reason // "" is none
	}{
		{"the same", epoch, halves(), ""},
		{"newer", epoch + 86400, halves(), ""},
		{"older", epoch - 1, halves(), Older},
		{"a tenth of IPv4 lost", epoch, without("20.0.0.0/8"), Coverage4},
		{"more than 1 % lost", epoch, enough, ""},
		{"less than 2 % lost", epoch, nearly, ""},
		{"a fifth of IPv6 lost", epoch, without("2a00::/16", "2a01::/16"), Coverage6},
		{"almost a third of IPv4 in another country", epoch, abroad, Moved},
		{"three canaries lost", epoch, bare, Canaries},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			old, next := filepath.Join(dir, "old.mmdb"), filepath.Join(dir, "next.mmdb")
			geotest.WriteFile(t, old, "GeoLite2-City", epoch, halves())
			geotest.WriteFile(t, next, "GeoLite2-City", x.epoch, x.records)
			h := NewHolder(embedded(t))
			if err := h.Swap(old); err != nil {
				t.Fatal(err)
			}
			first := h.Current()
			err := h.Swap(next)
			var refusal *Refusal
			if x.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.As(err, &refusal) || refusal.Reason != x.reason {
				t.Fatalf("%v, want a refusal because of %s", err, x.reason)
			}
			if h.Current() != first || h.Counters().Refused.Load() != 1 || h.Counters().Swaps.Load() != 1 {
				t.Error("a refused database was put into use, or not counted")
			}
			if err := h.Force(next); err != nil || h.Current() == first {
				t.Errorf("by force: %v", err)
			}
		})
	}
}

func TestRollback(t *testing.T) {
	h := NewHolder(embedded(t))
	if err := h.Rollback(); err == nil {
		t.Error("rolled back to nothing")
	}
	one, two := world(t, "One"), world(t, "Two")
	for _, path := range []string{one, two} {
		if err := h.Swap(path); err != nil {
			t.Fatal(err)
		}
	}
	city := func() string { p, _ := h.Current().Lookup(canaries[0]); return p.City }
	if err := h.Rollback(); err != nil || city() != "One" {
		t.Fatalf("%v, %s", err, city())
	}
	var refusal *Refusal
	if err := h.Swap(two); !errors.As(err, &refusal) || refusal.Reason != RolledBack || city() != "One" {
		t.Errorf("what was rolled back is back: %v, %s", err, city())
	}
	if err := h.Force(two); err != nil || city() != "Two" {
		t.Errorf("by force: %v, %s", err, city())
	}
	if err := h.Swap(one); err != nil {
		t.Error(err)
	}
	if err := h.Swap(two); err != nil {
		t.Errorf("what was forced is still refused: %v", err)
	}
}

func TestSelfTest(t *testing.T) {
	if err := selfTest(embedded(t)); err != nil {
		t.Error(err)
	}
	db := open(t, halves())
	db.runs.v4.low[len(db.runs.v4.low)/2]++ // a run that begins where it should not is still found where it is
	if err := selfTest(db); err != nil {
		t.Error(err)
	}
	db.runs.v4.jump[len(db.runs.v4.jump)/2] = 0
	for i := range db.runs.v4.jump {
		db.runs.v4.jump[i] = min(db.runs.v4.jump[i], 1)
	}
	if err := selfTest(db); err == nil {
		t.Error("an index that leads nowhere was not noticed")
	}
}
