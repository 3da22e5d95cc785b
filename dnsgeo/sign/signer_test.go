package sign

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var client = netip.MustParseAddr("192.0.2.1")

func signerOf(t testing.TB, set *KeySet, l Limits) *Signer {
	t.Helper()
	s, err := NewSigner(set, epoch, l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func records(t testing.TB, lines ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

// TestCanonicalForm compares the signature of each type with names in its data with what the library, which has a form of its own, makes of it.
func TestCanonicalForm(t *testing.T) {
	set := generate(t, "perigee.test.")
	s := signerOf(t, set, Limits{})
	key := set.Keys[0].DNSKEY()
	for _, lines := range [][]string{
		{"A.Perigee.Test. 60 A 192.0.2.2", "A.Perigee.Test. 60 A 192.0.2.1", "A.Perigee.Test. 60 A 192.0.2.10"},
		{"a.perigee.test. 60 TXT \"Keep This Case\"", "a.perigee.test. 60 TXT \"b\" \"c\""},
		{"a.perigee.test. 60 NS NS1.Perigee.Test.", "a.perigee.test. 60 NS ns2.Example."},
		{"a.perigee.test. 60 CNAME Target.Perigee.Test."},
		{"a.perigee.test. 60 PTR Target.Perigee.Test."},
		{"a.perigee.test. 60 DNAME Target.Perigee.Test."},
		{"perigee.test. 60 SOA NS1.Perigee.Test. Host.Master.Perigee.Test. 1 2 3 4 5"},
		{"a.perigee.test. 60 MX 20 A.Example.", "a.perigee.test. 60 MX 10 MAIL.Example."},
		{"a.perigee.test. 60 AFSDB 1 Host.Example."},
		{"a.perigee.test. 60 RT 1 Host.Example."},
		{"a.perigee.test. 60 KX 1 Host.Example."},
		{"a.perigee.test. 60 PX 1 Map822.Example. MapX400.Example."},
		{"a.perigee.test. 60 RP M.Box.Example. T.Xt.Example."},
		{"a.perigee.test. 60 MINFO R.Mail.Example. E.Mail.Example."},
		{"a.perigee.test. 60 SRV 1 2 3 Host.Example."},
		{"a.perigee.test. 60 NAPTR 1 2 \"U\" \"E2U+SIP\" \"!^.*$!SIP:Info@Example!\" Repl.Example."},
		{"a.perigee.test. 60 HTTPS 1 Svc.Example. alpn=\"h2\""},
		{"a.perigee.test. 60 HINFO \"CPU\" \"OS\""},
		{"a.perigee.test. 60 CAA 0 issue \"CA.Example\""},
		{"a.perigee.test. 60 NSEC \\000.a.perigee.test. A RRSIG NSEC TYPE65280"},
		{"*.perigee.test. 60 A 192.0.2.1"},
		{"*a.perigee.test. 60 A 192.0.2.1"},
		{"a.*.perigee.test. 60 A 192.0.2.1"},
		{"A\\046B\\000.perigee.test. 60 A 192.0.2.1"},
		{"a.perigee.test. 60 A 192.0.2.1", "a.perigee.test. 60 A 192.0.2.1"},
		{"a.perigee.test. 60 TYPE65280 \\# 3 414243"},
	} {
		rrs := records(t, lines...)
		sig, err := s.Sign(rrs, epoch)
		if err != nil {
			t.Fatal(lines, err)
		}
		if err := sig.Verify(key, rrs); err != nil {
			t.Errorf("%s: %v", lines[0], err)
		}
		if sig.Hdr.Name != rrs[0].Header().Name {
			t.Errorf("%s: the signature is called %s", lines[0], sig.Hdr.Name)
		}
	}
	for _, bad := range [][]string{{}, {"a.perigee.test. 60 A 192.0.2.1", "b.perigee.test. 60 A 192.0.2.1"},
		{"a.perigee.test. 60 A 192.0.2.1", "a.perigee.test. 60 AAAA ::1"}, {"a.perigee.test. 60 A 192.0.2.1", "a.perigee.test. 61 A 192.0.2.2"}} {
		if _, err := s.Sign(records(t, bad...), epoch); err == nil {
			t.Errorf("%v was signed as a set", bad)
		}
	}
}

// TestSignaturesAreRemembered: one signature serves an answer in any case and order until a third of its validity is left, and no longer than its key.
func TestSignaturesAreRemembered(t *testing.T) {
	set := generate(t, "perigee.test.")
	s := signerOf(t, set, Limits{})
	a := records(t, "www.perigee.test. 20 A 192.0.2.1", "www.perigee.test. 20 A 192.0.2.2")
	b := records(t, "WWW.Perigee.Test. 20 A 192.0.2.2", "WWW.Perigee.Test. 20 A 192.0.2.1")
	sign := func(rrs []dns.RR, at time.Time, made uint64) *dns.RRSIG {
		t.Helper()
		sig, err := s.Sign(rrs, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Counters().Made.Load(); got != made {
			t.Errorf("%d signatures were made, want %d", got, made)
		}
		if !sig.ValidityPeriod(at) || !sig.ValidityPeriod(at.Add(-59*time.Minute)) || !sig.ValidityPeriod(at.Add(DefaultMaxTTL)) {
			t.Errorf("at %v it is not valid", at)
		}
		return sig
	}
	one := sign(a, epoch, 1)
	if two := sign(b, epoch.Add(time.Hour), 1); two.Signature != one.Signature || two.Hdr.Name != "WWW.Perigee.Test." {
		t.Error(two)
	}
	one.Signature = "" // the caller's own
	sign(a, epoch.Add(Validity-Renew-time.Second), 1)
	sign(a, epoch.Add(Validity-Renew), 2)
	sign(a, epoch.Add(Validity), 2)
	sign(a[:1], epoch.Add(Validity), 3)

	at := epoch.Add(Validity)
	next, err := set.Roll(at)
	if err == nil {
		next, err = next.SeeDS(at, time.Hour)
	}
	if err == nil {
		err = s.Use(next)
	}
	if err != nil {
		t.Fatal(err)
	}
	if sig := sign(a, next.Keys[1].Active.Add(-time.Second), 3); sig.KeyTag != next.Keys[0].Tag {
		t.Error("the new key signs too early")
	}
	if sig := sign(a, next.Keys[1].Active, 4); sig.KeyTag != next.Keys[1].Tag {
		t.Error("the new key does not take over")
	}
	keys := next.DNSKEY(at)
	sigs, err := s.SignKeys(keys, at)
	if err != nil || len(sigs) != 2 {
		t.Fatal(sigs, err)
	}
	for i, sig := range sigs {
		if err := sig.(*dns.RRSIG).Verify(keys[i].(*dns.DNSKEY), keys); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Sign(a, epoch.Add(-time.Hour)); err != ErrUnsigned {
		t.Error(err)
	}
}

// TestMemoryIsBounded: a million invented names leave the signatures of real ones in memory, and no more of their own than there are places.
func TestMemoryIsBounded(t *testing.T) {
	s := signerOf(t, generate(t, "perigee.test."), Limits{Answers: 64, Denials: 64, Rate: 1e6, Burst: 1e6})
	www := records(t, "www.perigee.test. 20 A 192.0.2.1")
	if _, err := s.Sign(www, epoch); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				n := s.Denial(fmt.Sprintf("n%d-%d.perigee.test.", g, i), 30, dns.TypeNXNAME)
				if _, err := s.SignFor([]dns.RR{n}, epoch, client, true); err != nil && err != ErrBusy {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.denials.places); n != 64 {
		t.Errorf("%d places", n)
	}
	made := s.Counters().Made.Load()
	if _, err := s.Sign(www, epoch); err != nil || s.Counters().Made.Load() != made {
		t.Error("invented names pushed out a real one", err)
	}
	n := s.Denial("again.perigee.test.", 30, dns.TypeNXNAME)
	for range 2 {
		if _, err := s.SignFor([]dns.RR{n}, epoch, client, true); err != nil {
			t.Fatal(err)
		}
	}
	if s.Counters().Made.Load() != made+1 {
		t.Error("a denial is not remembered")
	}
}

func TestGate(t *testing.T) {
	g := newGate(1, 1)
	if !g.enter() {
		t.Fatal("the first does not get in")
	}
	second := make(chan bool)
	go func() { second <- g.enter() }()
	for g.waiting.Load() == 0 {
		runtime.Gosched()
	}
	if g.enter() {
		t.Error("the third waits, though the queue is full")
	}
	g.leave()
	if !<-second || g.waiting.Load() != 0 {
		t.Error("who waits does not get in")
	}
}

func TestRate(t *testing.T) {
	r := newRate(2, 5, [2]uint64{1, 2}, epoch)
	count := func(a string, at time.Duration, tries int) (n int) {
		for range tries {
			if r.allow(netip.MustParseAddr(a), epoch.Add(at)) {
				n++
			}
		}
		return n
	}
	for _, x := range []struct {
		from string
		at   time.Duration
		want int
	}{
		{"192.0.2.1", 0, 5}, {"192.0.2.200", 0, 0}, {"::ffff:192.0.2.3", 0, 0}, {"192.0.3.1", 0, 5},
		{"192.0.2.1", time.Second, 2}, {"192.0.2.1", time.Hour, 5},
		{"2001:db8:0:1::1", 0, 5}, {"2001:db8:0:ff::2", 0, 0}, {"2001:db8:0:100::1", 0, 5},
	} {
		if got := count(x.from, x.at, 20); got != x.want {
			t.Errorf("%s after %v: %d, want %d", x.from, x.at, got, x.want)
		}
	}
	if r.allow(netip.Addr{}, epoch); len(r.one) != ratePlaces || len(r.two) != ratePlaces {
		t.Error("the tables grow")
	}
}

// order compares two names as RFC 4034 §6.1 says.
func order(a, b string) int {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	for i := 1; i <= len(x) && i <= len(y); i++ {
		p, q := pack(x[len(x)-i]+"."), pack(y[len(y)-i]+".")
		if c := bytes.Compare(p[1:1+p[0]], q[1:1+q[0]]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// TestNothingComesBetween: what Denial covers is its own name and nothing else that can exist; at a cut also what is below.
func TestNothingComesBetween(t *testing.T) {
	const zone = "perigee.test."
	s := signerOf(t, generate(t, zone), Limits{})
	rng := rand.New(rand.NewPCG(1, 9))
	random := func(below string, n int) string {
		wire := []byte{byte(n)}
		for range n {
			c := byte(rng.IntN(256))
			if c >= 'A' && c <= 'Z' || rng.IntN(4) == 0 {
				c = []byte{0, 0xff, '@', '[', 'z'}[rng.IntN(5)]
			}
			wire = append(wire, c)
		}
		name, _, err := dns.UnpackDomainName(append(wire, pack(below)...), 0)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	for range 2000 {
		name := zone
		for len(pack(name)) < 253 && rng.IntN(8) > 0 {
			name = random(name, min(1+rng.IntN(63), 254-len(pack(name))))
		}
		next := s.Denial(name, 30).NextDomain
		if pack(next) == nil || next != zone && order(name, next) >= 0 || next == zone && len(pack(name)) < 250 {
			t.Fatalf("%q is followed by %q", name, next)
		}
		beyond := s.DenialAtCut(name, 30, dns.TypeNS).NextDomain
		for range 20 {
			other := random(zone, 1+rng.IntN(3))
			if p := pack(name); rng.IntN(2) == 0 && len(p) < 240 {
				other = random(name, 1+rng.IntN(3))
			}
			if next != zone && order(name, other) < 0 && order(other, next) < 0 {
				t.Fatalf("%q comes between %q and %q", other, name, next)
			}
			if below := other != name && dns.IsSubDomain(name, other); beyond != zone && name != zone && below != (order(name, other) < 0 && order(other, beyond) < 0) {
				t.Fatalf("%q and what %q covers up to %q", other, name, beyond)
			}
		}
	}
}

// TestPublicKeyIsWhatRFC6605Says: the point without the byte before it, so that others read the same key.
func TestPublicKeyIsWhatRFC6605Says(t *testing.T) {
	k := generate(t, "perigee.test.").Keys[0]
	raw, err := base64.StdEncoding.DecodeString(k.DNSKEY().PublicKey)
	if err != nil || len(raw) != 64 || k.DNSKEY().Flags != 257 || k.DNSKEY().Protocol != 3 || k.Tag != k.DNSKEY().KeyTag() {
		t.Error(k.DNSKEY(), err)
	}
	if ds := k.DS(); ds.DigestType != dns.SHA256 || len(ds.Digest) != 64 || strings.ToLower(ds.Hdr.Name) != "perigee.test." {
		t.Error(ds)
	}
}

func BenchmarkRemembered(b *testing.B) {
	s := signerOf(b, generate(b, "perigee.test."), Limits{})
	www := records(b, "www.perigee.test. 20 A 192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(www, epoch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLive(b *testing.B) {
	s := signerOf(b, generate(b, "perigee.test."), Limits{Rate: 1e9, Burst: 1e9})
	n := s.Denial("x.perigee.test.", 30, dns.TypeNXNAME)
	b.ReportAllocs()
	for b.Loop() {
		n.Hdr.Ttl++
		if _, err := s.SignFor([]dns.RR{n}, epoch, client, true); err != nil {
			b.Fatal(err)
		}
	}
}
