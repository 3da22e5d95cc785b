package geo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// smallTable is a table of three places.
func smallTable(t testing.TB) []byte {
	t.Helper()
	c := newCompiler(tableUnit4, tableUnit6)
	at := func(country string, lat, lon float64) uint32 {
		lat, lon = cellOf(lat, lon).centre()
		return c.numberOf(Place{Country: country, Lat: lat, Lon: lon, Known: true})
	}
	for _, x := range []struct {
		net    string
		number uint32
	}{
		{"1.0.0.0/24", at("AU", -27.5, 153)},
		{"81.2.69.0/24", at("GB", 51.5, -0.1)},
		{"81.2.70.0/23", at("", 90, 180)},
		{"2a00::/16", at("GB", 51.5, -0.1)},
		{"ffff:ffff:ffff::/48", at("AU", -27.5, 153)},
	} {
		if err := c.add(netip.MustParsePrefix(x.net), x.number); err != nil {
			t.Fatal(err)
		}
	}
	places, runs, err := c.finish()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	size, err := encodeTable(&b, newDB(places, runs, Passport{Source: "a test", Built: time.Unix(1e9, 0)}))
	if err != nil || size != b.Len() {
		t.Fatalf("encodeTable: %d bytes of %d, %v", size, b.Len(), err)
	}
	return b.Bytes()
}

func TestTableRoundTrip(t *testing.T) {
	db, err := decodeTable(smallTable(t))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]struct {
		country, prefix string
		known           bool
	}{
		"1.0.0.9":          {"AU", "1.0.0.0/24", true},
		"1.0.1.0":          {"", "1.0.1.0/24", false},
		"81.2.69.142":      {"GB", "81.2.69.0/24", true},
		"81.2.71.1":        {"", "81.2.70.0/23", true},
		"255.255.255.255":  {"", "128.0.0.0/1", false},
		"2a00::1":          {"GB", "2a00::/16", true},
		"ffff:ffff:ffff::": {"AU", "ffff:ffff:ffff::/48", true},
		"::":               {"", "::/3", false},
	} {
		p, prefix := db.Lookup(netip.MustParseAddr(addr))
		if p.Country != want.country || prefix.String() != want.prefix || p.Known != want.known {
			t.Errorf("%s: %+v in %v, want %+v", addr, p, prefix, want)
		}
	}
	if p, _ := db.Lookup(netip.MustParseAddr("81.2.70.0")); p.Lat != 89.875 || p.Lon != 179.875 {
		t.Errorf("the outermost cell has its centre at %v, %v", p.Lat, p.Lon)
	}
	if p := db.Passport(); p.Source != "a test" || p.Places != 3 || p.Built.Unix() != 1e9 || p.Networks != db.Runs().Len() {
		t.Errorf("passport %+v", p)
	}
}

func TestDamagedTables(t *testing.T) {
	good := smallTable(t)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, err := decodeTable(bad); !errors.Is(err, errDamaged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := decodeTable(good[:i]); !errors.Is(err, errDamaged) {
			t.Fatalf("cut after %d bytes: %v", i, err)
		}
	}
	// Behind a good checksum the contents are still not trusted.
	payload := unpacked(t, good)
	for i := range payload {
		if _, err := decodePayload(payload[:i]); !errors.Is(err, errDamaged) {
			t.Fatalf("payload cut after %d bytes: %v", i, err)
		}
	}
	if _, err := decodePayload(append(bytes.Clone(payload), 0)); !errors.Is(err, errDamaged) {
		t.Errorf("a byte too many: %v", err)
	}
	huge := binary.AppendUvarint([]byte{2, '{', '}'}, 1<<60)
	if _, err := decodePayload(huge); !errors.Is(err, errDamaged) {
		t.Errorf("an announced length without bytes: %v", err)
	}
	if _, err := decodeTable(packed(bytes.Repeat([]byte{0}, maxTable+1))); !errors.Is(err, errDamaged) {
		t.Errorf("a payload above the limit: %v", err)
	}
}

func unpacked(t testing.TB, table []byte) []byte {
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := z.DecodeAll(table[len(tableMagic)+sha256.Size:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func packed(payload []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer z.Close()
	b := z.EncodeAll(payload, nil)
	sum := sha256.Sum256(b)
	return append(append([]byte(tableMagic), sum[:]...), b...)
}

func FuzzDecodePayload(f *testing.F) {
	f.Add(unpacked(f, smallTable(f)))
	f.Add([]byte{2, '{', '}', 0, 1, 0x80, 0x80, 0x80, 8, 0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		db, err := decodePayload(b)
		if err != nil {
			if db != nil || !errors.Is(err, errDamaged) {
				t.Fatalf("%v, %v", db, err)
			}
			return
		}
		for _, a := range canaries {
			if _, p := db.Lookup(a); !p.Contains(a) {
				t.Fatalf("%v in %v", a, p)
			}
		}
		// What was taken can be written, and reads back as the same.
		var out bytes.Buffer
		if _, err := encodeTable(&out, db); err != nil {
			t.Fatal(err)
		}
		again, err := decodeTable(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range canaries {
			p, n := db.Lookup(a)
			q, m := again.Lookup(a)
			if p != q || n != m {
				t.Fatalf("%v: %v in %v, then %v in %v", a, p, n, q, m)
			}
		}
	})
}

func FuzzDecodeTable(f *testing.F) {
	good := smallTable(f)
	f.Add(good)
	f.Add(good[:60])
	f.Add([]byte(tableMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if db, err := decodeTable(b); err == nil {
			db.Lookup(canaries[0])
		}
	})
}
