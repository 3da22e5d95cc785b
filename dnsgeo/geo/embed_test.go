package geo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestEmbedded(t *testing.T) {
	db := embedded(t)
	for addr, country := range map[string]string{
		"81.2.69.142": "GB", "8.8.8.8": "US", "18.9.22.69": "US", "129.132.19.216": "CH", "133.11.0.1": "JP", "193.0.6.139": "NL",
		"200.160.2.3": "BR", "202.12.29.1": "AU", "2001:67c:2e8:22::c100:68b": "NL", "2001:dc0:2001::1": "AU",
		"::ffff:81.2.69.142": "GB",
	} {
		p, n := db.Lookup(netip.MustParseAddr(addr))
		if !p.Known || p.Country != country || !n.Contains(netip.MustParseAddr(addr).Unmap()) {
			t.Errorf("%s: %+v in %v, want %s", addr, p, n, country)
		}
	}
	for addr, network := range map[string]string{
		"127.0.0.1": "127.0.0.0/8", "10.1.2.3": "10.0.0.0/8", "172.16.0.1": "172.16.0.0/12", "192.168.1.1": "192.168.0.0/16",
		"100.64.0.1": "100.64.0.0/10", "169.254.1.1": "169.254.0.0/16", "224.0.0.1": "224.0.0.0/3", "0.0.0.0": "0.0.0.0/8",
		"::1": "::/3", "fe80::1": "8000::/1", "fd00::1": "8000::/1", "ff02::1": "8000::/1",
	} {
		if p, n := db.Lookup(netip.MustParseAddr(addr)); p != (Place{}) || n.String() != network {
			t.Errorf("%s: %+v in %v, want unknown in %s", addr, p, n, network)
		}
	}
	if p := db.Passport(); p.Licence != "CC-BY-4.0" || !strings.Contains(p.Attribution, "https://db-ip.com") || p.Built.Year() < 2026 {
		t.Errorf("passport %+v", p)
	}
	if len(table) > 8<<20 {
		t.Errorf("the table has %d bytes", len(table))
	}
}

func TestProvenanceNamesThisTable(t *testing.T) {
	text, err := os.ReadFile("table.provenance.md")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(table)
	if !bytes.Contains(text, []byte(hex.EncodeToString(sum[:]))) {
		t.Errorf("table.provenance.md does not name the SHA-256 of table.bin, %x", sum)
	}
}

// TestSamePlaceInPrefix: the prefix that a look-up returns is one on which the answer is the same.
func TestSamePlaceInPrefix(t *testing.T) {
	db := embedded(t)
	rng := rand.New(rand.NewPCG(7, 7))
	for range 20000 {
		a := randomAddr(rng)
		p, n := db.Lookup(a)
		if !n.Contains(a) || n != n.Masked() {
			t.Fatalf("%v: %v", a, n)
		}
		for range 5 {
			b := inside(rng, n)
			if q, m := db.Lookup(b); q != p || m != n {
				t.Fatalf("%v in %v is at %v, %v in %v at %v", a, n, p, b, m, q)
			}
		}
	}
}

// randomAddr returns a random IPv4 address or one of 2000::/3.
func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return v4(rng.Uint64())
	}
	return inside(rng, netip.MustParsePrefix("2000::/3"))
}

// inside returns a random address of p.
func inside(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= byte(rng.IntN(2)) << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestLookupDoesNotAllocate(t *testing.T) {
	db := embedded(t)
	if n := testing.AllocsPerRun(100, func() {
		for _, a := range canaries {
			db.Lookup(a)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLookup looks up random addresses of IPv4 and random networks of IPv6, where random addresses would nearly
// all be in one.
func BenchmarkLookup(b *testing.B) {
	db := embedded(b)
	rng := rand.New(rand.NewPCG(1, 1))
	var networks []uint64
	for first := range db.runs.v6.each {
		networks = append(networks, first)
	}
	for name, pick := range map[string]func() netip.Addr{
		"v4": func() netip.Addr { return v4(rng.Uint64()) },
		"v6": func() netip.Addr { return v6(networks[rng.IntN(len(networks))]) },
	} {
		b.Run(name, func(b *testing.B) {
			addrs := make([]netip.Addr, 1<<16)
			for i := range addrs {
				addrs[i] = pick()
			}
			for i := 0; b.Loop(); i++ {
				db.Lookup(addrs[i%len(addrs)])
			}
		})
	}
}

func BenchmarkEmbedded(b *testing.B) {
	for b.Loop() {
		if _, err := Embedded(); err != nil {
			b.Fatal(err)
		}
	}
}
