package config

import (
	"math"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]Bytes{
		"0": 0, "1": 1, "512B": 512, "10GB": 1e10, "256MiB": 256 << 20, "1.5GB": 15e8, "10 gb": 1e10, "64kB": 64e3, "64KB": 64e3, "2TiB": 2 << 40,
		"9223372036854775807": math.MaxInt64, "0.5KiB": 512,
	} {
		if got, err := ParseBytes(s); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, bad := range []string{"", "GB", "-1GB", "1e9", "10G", "10 parsec", "1.2.3MB", "0x10", "NaN", "+1", "9223372036854775808", "9007199254740993TiB", "9e99GB", "99999999999.9TB", "."} {
		if got, err := ParseBytes(bad); err == nil {
			t.Errorf("ParseBytes(%q) = %d", bad, got)
		}
	}
}

func TestBytesString(t *testing.T) {
	for b, want := range map[Bytes]string{0: "0", -5: "-5", 1: "1B", 1000: "1kB", 1024: "1KiB", 1e10: "10GB", 256 << 20: "256MiB", 250e6: "250MB", 1025: "1025B"} {
		if got := b.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(b), got, want)
		}
		if b >= 0 {
			if again, err := ParseBytes(b.String()); err != nil || again != b {
				t.Errorf("%d came back as %d, %v", b, again, err)
			}
		}
	}
}

func TestDurationString(t *testing.T) {
	for d, want := range map[time.Duration]string{20 * time.Second: "20s", 12 * time.Hour: "12h", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 500 * time.Millisecond: "500ms", 0: "0s", 100 * time.Hour: "100h"} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"listen", "listen", 0}, {"listn", "listen", 1}, {"lsiten", "listen", 1}, {"listen", "lstn", 2}, {"abc", "xyz", 3}, {"a", "aaaaaaaaa", 4}} {
		if got := distance(tc.a, tc.b, 3); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"10GB", "1.5MiB", "9223372036854775807", "B", "1..", "0x1p-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBytes(s)
		if err == nil && b < 0 {
			t.Fatalf("%q is %d bytes", s, b)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(DefaultYAML), "api.listen=:80", "PERIGEE_EDGES_FRA_RAM=1MB")
	f.Add([]byte("edges:\n- 5\n- {name: {}}\n- {name: a}\n- {name: a, place: 7}\n"), "edges.a.place.lat=1", "PERIGEE_EDGES_A_NAME=b")
	f.Add([]byte("edge: [\n"), "=", "PERIGEE_=")
	f.Add([]byte("? [a]\n: b\n<<: {x: 1}\n&a a: *a\n"), "edges..ram=1", "PERIGEE_EDGE_PLACE=x")
	f.Add([]byte("admin: {token: [1], token_file: {a: b}}\nedge: null\nedges: null\n"), "admin.token=x", "PERIGEE_ADMIN_TOKEN_FILE=")
	f.Fuzz(func(t *testing.T, file []byte, set, env string) {
		c, err := load("fuzz.yaml", file, []string{env}, []string{set})
		if err == nil {
			c.API.KeysFile = "" // whatever file the input names is not ours to read
			c.Validate()
			if _, err := c.YAML(true); err != nil {
				t.Fatal(err)
			}
		}
	})
}
