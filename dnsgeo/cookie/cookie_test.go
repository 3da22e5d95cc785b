package cookie

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustSecret(t testing.TB, s string) Secret {
	t.Helper()
	v, err := ParseSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustJar(t testing.TB, s Secrets) *Jar {
	t.Helper()
	j, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// The examples of RFC 9018, appendix A.
const (
	secretA  = "e5e973e5a6b2a43f48e7dc849e37bfcf"
	secretA4 = "445536bcd2513298075a5d379663c962"
	before4  = "dd3bdf9344b678b185a6f5cb60fca715"
)

func TestRFC9018AppendixA(t *testing.T) {
	for _, c := range []struct {
		name, current, previous string
		client                  string
		asked                   string // the option of the query
		now                     int64
		verdict                 Verdict
		answered                string
	}{
		{"A.1 learning", secretA, "", "198.51.100.100", "2464c4abcf10c957", 1559731985, ClientOnly,
			"2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
		{"A.2 renewed", secretA, "", "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", 1559734385, Renew,
			"2464c4abcf10c957010000005cf7a871d4a564a1442aca77"},
		// This example renews after two hours a cookie that §4.3 no longer takes for good; the answer is the same.
		{"A.3 another client", secretA, "", "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 1559734700, Bad,
			"fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"},
		{"A.3 in time", secretA, "", "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 0x5cf78f71 + 60, Good,
			"fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"},
		{"A.4 IPv6, other secret", secretA4, before4, "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", 1559741961,
			Renew, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		{"A.4 secret forgotten", secretA4, "", "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", 1559741961,
			Bad, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		{"IPv4 in IPv6 clothes", secretA, "", "::ffff:198.51.100.100", "2464c4abcf10c957", 1559731985, ClientOnly,
			"2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
	} {
		s := Secrets{Current: mustSecret(t, c.current)}
		if c.previous != "" {
			s.Previous = mustSecret(t, c.previous)
		}
		j := mustJar(t, s)
		option, client, now := unhex(t, c.asked), netip.MustParseAddr(c.client), time.Unix(c.now, 0)
		v := j.Check(option, client, now)
		if v != c.verdict || j.Count(v) != 1 {
			t.Errorf("%s: %v, want %v; %d counted", c.name, v, c.verdict, j.Count(v))
		}
		if got := j.Reply(nil, option, v, client, now); hex.EncodeToString(got) != c.answered {
			t.Errorf("%s: answered %x, want %s", c.name, got, c.answered)
		}
	}
}

// RFC 7873 §5.2.2: which lengths are FORMERR, and which are only unknown.
func TestLengths(t *testing.T) {
	j := mustJar(t, Secrets{Current: mustSecret(t, secretA)})
	client, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1e9, 0)
	if v := j.Check(nil, client, now); v != Absent || len(j.Reply(nil, nil, v, client, now)) != 0 {
		t.Error(v)
	}
	for n := range 64 {
		option := make([]byte, n)
		want := Malformed
		switch {
		case n == 8:
			want = ClientOnly
		case n >= 16 && n <= 40:
			want = Bad
		}
		v := j.Check(option, client, now)
		reply := j.Reply(nil, option, v, client, now)
		if v != want || want == Malformed && len(reply) != 0 || want != Malformed && len(reply) != Size {
			t.Errorf("%d bytes: %v, want %v; answered %x", n, v, want, reply)
		}
	}
}

func TestWindow(t *testing.T) {
	j := mustJar(t, Secrets{Current: mustSecret(t, secretA)})
	client := netip.MustParseAddr("192.0.2.1")
	for _, made := range []int64{1559731985, 1<<32 - 60, 1 << 32} { // across the end of 32 bits
		option := j.Make(nil, [8]byte{1, 2, 3}, client, time.Unix(made, 0))
		for _, c := range []struct {
			after int64
			want  Verdict
		}{{-301, Bad}, {-300, Good}, {0, Good}, {1800, Good}, {1801, Renew}, {3600, Renew}, {3601, Bad}, {1 << 31, Bad}} {
			if v := j.Check(option, client, time.Unix(made+c.after, 0)); v != c.want {
				t.Errorf("made %d, %d s later: %v, want %v", made, c.after, v, c.want)
			}
		}
	}
}

// A cookie is good for one address and as it is: every bit counts.
func TestForged(t *testing.T) {
	j := mustJar(t, Secrets{Current: mustSecret(t, secretA)})
	client, now := netip.MustParseAddr("2001:db8::1"), time.Unix(1559731985, 0)
	option := j.Make(nil, [8]byte{7}, client, now)
	if v := j.Check(option, client, now); v != Good {
		t.Fatal(v)
	}
	for _, other := range []string{"2001:db8::2", "192.0.2.1"} {
		if v := j.Check(option, netip.MustParseAddr(other), now); v != Bad {
			t.Errorf("%s: %v", other, v)
		}
	}
	if v := j.Check(option, netip.Addr{}, now); v != Bad {
		t.Errorf("no address: %v", v)
	}
	for bit := range 8 * len(option) {
		forged := bytes.Clone(option)
		forged[bit/8] ^= 1 << (bit % 8)
		if v := j.Check(forged, client, now); v != Bad {
			t.Errorf("bit %d: %v", bit, v)
		}
	}
}

// A version that this server does not know is not for it to judge, even if the rest were right.
func TestOtherVersion(t *testing.T) {
	j := mustJar(t, Secrets{Current: mustSecret(t, secretA)})
	client, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1559731985, 0)
	option := j.Make(nil, [8]byte{7}, client, now)
	option[ClientSize] = 2
	j.at(now).secrets[current].hash((*[8]byte)(option[16:]), option[:16], client)
	if v := j.Check(option, client, now); v != Bad {
		t.Error(v)
	}
}

// Two servers, one of which is behind at each step, never take each other's cookies for bad (RFC 9018 §5).
func TestStagedRollover(t *testing.T) {
	a, b := Secret{1}, Secret{2}
	steps := []Secrets{{Current: a}, {Current: a, Next: b}, {Current: b, Previous: a}, {Current: b}}
	client, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1e9, 0)
	one, two := mustJar(t, steps[0]), mustJar(t, steps[0])
	for _, s := range steps[1:] {
		if err := one.Replace(s); err != nil {
			t.Fatal(err)
		}
		for _, pair := range [][2]*Jar{{one, two}, {two, one}} {
			if v := pair[1].Check(pair[0].Make(nil, [8]byte{}, client, now), client, now); !v.Proven() {
				t.Errorf("%v", v)
			}
		}
		if err := two.Replace(s); err != nil {
			t.Fatal(err)
		}
	}
	if v := one.Check(mustJar(t, steps[0]).Make(nil, [8]byte{}, client, now), client, now); v != Bad {
		t.Errorf("the old secret is still %v", v)
	}
}

func TestDerived(t *testing.T) {
	key := []byte("shared by all of the DNS servers")
	const period = 24 * time.Hour
	derived := func(key []byte) *Jar {
		j, err := NewDerived(key, period)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	one, two, stranger := derived(key), derived(key), derived([]byte("another key of sixteen bytes"))
	client := netip.MustParseAddr("192.0.2.1")
	turn := time.Unix(0, 0).Add(20000 * period)
	for _, c := range []struct {
		made, checked time.Duration // after the turn of a period
		want          Verdict
	}{
		{-2 * time.Second, -time.Second, Good}, {-time.Second, time.Second, Renew}, {time.Second, -time.Second, Renew},
		{-30 * time.Minute, 29 * time.Minute, Renew}, {time.Second, 2 * time.Second, Good},
	} {
		option := one.Make(nil, [8]byte{}, client, turn.Add(c.made))
		if v := two.Check(option, client, turn.Add(c.checked)); v != c.want {
			t.Errorf("made %v, checked %v: %v, want %v", c.made, c.checked, v, c.want)
		}
		if v := stranger.Check(option, client, turn.Add(c.checked)); v != Bad {
			t.Errorf("a stranger finds it %v", v)
		}
	}
	if Derive(key, 1) == Derive(key, 2) {
		t.Error("two periods share a secret")
	}
	if err := one.Replace(Secrets{Current: Secret{1}}); err == nil {
		t.Error("derived secrets were replaced")
	}
	for _, bad := range []func() (*Jar, error){
		func() (*Jar, error) { return NewDerived(key[:15], period) },
		func() (*Jar, error) { return NewDerived(key, time.Minute) },
		func() (*Jar, error) { return New(Secrets{Previous: Secret{1}}) },
	} {
		if _, err := bad(); err == nil {
			t.Error("taken")
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	s := mustSecret(t, secretA)
	for _, format := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d", "%q"} {
		for _, v := range []any{s, &s, Secrets{Current: s}} {
			if got := fmt.Sprintf(format, v); strings.Contains(got, "e5") || strings.Contains(got, "229") {
				t.Errorf("%s: %s", format, got)
			}
		}
	}
	for _, bad := range []string{"", "abc", secretA + "00", strings.Repeat("0", 32), "zz" + secretA[2:]} {
		if _, err := ParseSecret(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(unhex(f, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"), []byte{198, 51, 100, 100}, int64(1559731985))
	f.Add([]byte{}, []byte{}, int64(0))
	j := mustJar(f, Secrets{Current: mustSecret(f, secretA)})
	f.Fuzz(func(t *testing.T, option, addr []byte, at int64) {
		client, _ := netip.AddrFromSlice(addr)
		now := time.Unix(at, 0)
		v := j.Check(option, client, now)
		reply := j.Reply(nil, option, v, client, now)
		if v == Absent || v == Malformed {
			if len(reply) != 0 {
				t.Fatalf("%v answered with %x", v, reply)
			}
			return
		}
		if len(reply) != Size || !bytes.Equal(reply[:ClientSize], option[:ClientSize]) {
			t.Fatalf("%x", reply)
		}
		if got := j.Check(reply, client, now); client.IsValid() && got != Good {
			t.Fatalf("what was given is %v", got)
		}
	})
}

func TestNoAllocation(t *testing.T) {
	given := mustJar(t, Secrets{Current: mustSecret(t, secretA), Previous: Secret{1}, Next: Secret{2}})
	derived, err := NewDerived(make([]byte, 32), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client, now := netip.MustParseAddr("2001:db8::1"), time.Unix(1559731985, 0)
	var room [Size]byte
	for _, j := range []*Jar{given, derived} {
		option := j.Make(nil, [8]byte{1}, client, now)
		if n := testing.AllocsPerRun(100, func() {
			v := j.Check(option, client, now.Add(time.Hour))
			j.Reply(room[:0], option, v, client, now)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	j := mustJar(b, Secrets{Current: mustSecret(b, secretA), Previous: Secret{1}, Next: Secret{2}})
	client, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1559731985, 0)
	option := j.Make(nil, [8]byte{1}, client, now)
	for b.Loop() {
		if j.Check(option, client, now) != Good {
			b.Fatal("not good")
		}
	}
}
