package limit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func mustNew(t testing.TB, c Config) *Limiter {
	t.Helper()
	l, err := New(c, start)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var rates = Config{Rates: [...]int{Positive: 100, NoData: 40, NXDomain: 20, Referral: 40, Error: 10}, All: 500, Burst: 2 * time.Second, Slip: 2}

// flood sends answers evenly over a time, and counts what becomes of them.
func flood(l *Limiter, n int, over time.Duration, query func(i int) (netip.Addr, Class, []byte)) (out [3]int) {
	for i := range n {
		client, class, name := query(i)
		out[l.Check(client, class, name, start.Add(over*time.Duration(i)/time.Duration(n)))]++
	}
	return out
}

func TestRatePerClass(t *testing.T) {
	const seconds, perSecond = 5, 20_000
	for _, class := range Classes {
		l := mustNew(t, rates)
		// Forged addresses all over one network, and random names wherever names do not count.
		rnd := rand.New(rand.NewPCG(1, uint64(class)))
		got := flood(l, seconds*perSecond, seconds*time.Second, func(int) (netip.Addr, Class, []byte) {
			name := []byte("www")
			if class != Positive {
				name = binary.AppendUvarint(nil, rnd.Uint64())
			}
			return netip.AddrFrom4([4]byte{192, 0, 2, byte(rnd.Uint32())}), class, name
		})
		want := rates.Rates[class] * (seconds + 2) // the rate, and one burst
		if got[Answer] > want || got[Answer] < want-rates.Rates[class]/10-2 {
			t.Errorf("%v: %d answers in %d s, want %d", class, got[Answer], seconds, want)
		}
		if d := got[Drop] - got[Slip]; d < 0 || d > 1 {
			t.Errorf("%v: %d dropped, %d slipped: not every second one", class, got[Drop], got[Slip])
		}
		if c := &l.Counters; c.Dropped[class].Load() != uint64(got[Drop]) || c.Slipped[class].Load() != uint64(got[Slip]) || c.Overall.Load() != 0 {
			t.Errorf("%v: counters disagree", class)
		}
	}
}

// Random names under a wildcard, told by the asked name: then only the bound over all classes holds.
func TestOverall(t *testing.T) {
	l := mustNew(t, rates)
	got := flood(l, 100_000, 10*time.Second, func(i int) (netip.Addr, Class, []byte) {
		return addr("2001:db8:1:2::3"), Positive, binary.AppendUvarint(nil, uint64(i))
	})
	if want := 500 * 12; got[Answer] > want || got[Answer] < want-50 {
		t.Errorf("%d answers, want %d", got[Answer], want)
	}
	if got := l.Counters.Overall.Load(); got == 0 {
		t.Error("not counted as overall")
	}
}

// An attacker gets out of this server not much more than he puts in, whatever he asks.
func TestAmplification(t *testing.T) {
	const query, answer, seconds, perSecond = 60, 1232, 5, 50_000
	for slip := range 3 {
		c := rates
		c.Slip = slip
		l := mustNew(t, c)
		got := flood(l, seconds*perSecond, seconds*time.Second, func(i int) (netip.Addr, Class, []byte) {
			class := Classes[i%len(Classes)]
			return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), class, binary.AppendUvarint(nil, uint64(i))
		})
		in, out := seconds*perSecond*query, got[Answer]*answer+got[Slip]*query
		allowed := (seconds+2)*c.All*answer + got[Slip]*query
		if out > allowed {
			t.Errorf("slip %d: %d bytes sent, %d allowed", slip, out, allowed)
		}
		factor, without := float64(out)/float64(in), float64(answer)/query
		// 500 answers a second of 50,000 may be large; of the others, 1 in slip is as long as its query.
		limit := float64(c.All)/perSecond*without*(seconds+2)/seconds + []float64{0, 1, 0.5}[slip]
		if factor > limit {
			t.Errorf("slip %d: amplified %.2f times, want at most %.2f (unlimited %.1f)", slip, factor, limit, without)
		}
	}
}

// While one network is flooded, and thousands of others are forged, who asks at a normal pace gets every answer.
func TestOthersAreNotHurt(t *testing.T) {
	c := rates
	c.Buckets = 1 << 12
	l := mustNew(t, c)
	rnd := rand.New(rand.NewPCG(3, 4))
	victim := 0
	for i := range 300_000 { // 30 s
		now := start.Add(time.Duration(i) * 100 * time.Microsecond)
		switch {
		case i%100 == 0: // 100 a second from 50 networks
			honest := netip.AddrFrom4([4]byte{198, 51, byte(i / 100 % 50), 7})
			if v := l.Check(honest, Positive, []byte("www"), now); v != Answer {
				t.Fatalf("%v after %v: %v", honest, now.Sub(start), v)
			}
		case i%2 == 0:
			if l.Check(addr("192.0.2.1"), Positive, []byte("www"), now) == Answer {
				victim++
			}
		default:
			l.Check(netip.AddrFrom4([4]byte{10, byte(rnd.Uint32()), byte(rnd.Uint32()), 1}), NXDomain, nil, now)
		}
	}
	if want := 100 * 32; victim > want+want/20 {
		t.Errorf("the flooded network got %d answers, want %d: its bucket was thrown out", victim, want)
	}
}

func TestNetworks(t *testing.T) {
	one := Config{Rates: [...]int{Positive: 1, Error: 0}, Burst: time.Second}
	for _, c := range []struct {
		a, b     string
		v4, v6   int
		together bool
	}{
		{"192.0.2.1", "192.0.2.255", 0, 0, true},
		{"192.0.2.1", "192.0.3.1", 0, 0, false},
		{"192.0.2.1", "192.0.2.2", 32, 0, false},
		{"192.0.2.1", "::ffff:192.0.2.2", 0, 0, true},
		{"2001:db8:0:100::1", "2001:db8:0:1ff::1", 0, 0, true},
		{"2001:db8:0:100::1", "2001:db8:0:200::1", 0, 0, false},
		{"2001:db8::1:0", "2001:db8::1:1", 0, 127, true},
		{"2001:db8::1:0", "2001:db8::1:2", 0, 127, false},
		{"192.0.2.0", "c000:200::", 0, 0, false},
	} {
		one.IPv4, one.IPv6 = c.v4, c.v6
		l := mustNew(t, one)
		if v := l.Check(addr(c.a), Positive, nil, start); v != Answer {
			t.Errorf("%s: %v", c.a, v)
		}
		if v := l.Check(addr(c.b), Positive, nil, start); (v == Drop) != c.together {
			t.Errorf("%s and %s: %v", c.a, c.b, v)
		}
		if v := l.Check(addr(c.a), Error, nil, start); v != Answer {
			t.Errorf("a class without limit: %v", v)
		}
		if v := l.Check(addr(c.a), Positive, []byte("other"), start); v != Answer {
			t.Errorf("another name: %v", v)
		}
	}
	var off *Limiter
	if v := off.Check(addr("192.0.2.1"), Positive, nil, start); v != Answer {
		t.Error(v)
	}
	if v := mustNew(t, one).Check(netip.Addr{}, Positive, nil, start); v != Answer {
		t.Error(v)
	}
}

// A network that has used up one class still gets the others.
func TestClassesAreApart(t *testing.T) {
	c := Config{Rates: [...]int{Positive: 1, NoData: 1, NXDomain: 1, Referral: 1, Error: 1}, Burst: time.Second}
	l := mustNew(t, c)
	for _, class := range Classes {
		for i, want := range []Verdict{Answer, Drop} {
			if v := l.Check(addr("192.0.2.1"), class, nil, start); v != want {
				t.Errorf("%v, answer %d: %v", class, i, v)
			}
		}
	}
}

func TestExempt(t *testing.T) {
	c := Config{Rates: [...]int{Positive: 1, Error: 0}, Burst: time.Second}
	for _, p := range []string{"127.0.0.0/8", "::1/128", "10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/30", "::ffff:203.0.113.0/120", "2001:db8::7/32"} {
		c.Exempt = append(c.Exempt, netip.MustParsePrefix(p))
	}
	l := mustNew(t, c)
	for a, want := range map[string]bool{
		"127.0.0.1": true, "128.0.0.1": false, "126.255.255.255": false, "::1": true, "::2": false, "10.200.0.1": true, "11.0.0.0": false,
		"203.0.113.9": true, "2001:db8:ffff::": true, "2001:db9::": false, "::ffff:10.0.0.1": true,
	} {
		l.Check(addr(a), Positive, nil, start)
		if got := l.Check(addr(a), Positive, nil, start) == Answer; got != want {
			t.Errorf("%s exempt: %v", a, got)
		}
	}
}

func TestSlip(t *testing.T) {
	for slip := range MaxSlip + 1 {
		l := mustNew(t, Config{Rates: [...]int{Positive: 1, Error: 0}, Burst: time.Second, Slip: slip})
		l.Check(addr("192.0.2.1"), Positive, nil, start)
		for i := 1; i <= 50; i++ {
			want := Drop
			if slip > 0 && i%slip == 0 {
				want = Slip
			}
			if v := l.Check(addr("192.0.2.1"), Positive, nil, start); v != want {
				t.Fatalf("slip %d: suppressed answer %d: %v", slip, i, v)
			}
		}
		if v := l.Check(addr("192.0.2.1"), Positive, nil, start.Add(time.Second)); v != Answer {
			t.Errorf("a second later: %v", v)
		}
	}
}

// Time goes round every 76 hours, cores disagree about it a little, and a clock may be behind the start.
func TestTime(t *testing.T) {
	client := addr("192.0.2.1")
	take := func(l *Limiter, at time.Duration) int {
		n := 0
		for range 1000 {
			if l.Check(client, Error, nil, start.Add(at)) == Answer {
				n++
			}
		}
		return n
	}
	round := time.Duration(fullMask+1) * time.Microsecond
	for _, from := range []time.Duration{0, round - time.Second, round, 5*round + 7} {
		l := mustNew(t, rates)
		for _, c := range []struct {
			at   time.Duration
			want int
		}{
			{0, 20}, {time.Millisecond, 0}, {-time.Millisecond, 0}, {time.Second, 10}, {time.Second - 10*time.Millisecond, 0}, {10 * time.Second, 20},
			{30 * time.Hour, 20}, {75 * time.Hour, 20}, {200 * time.Hour, 20},
		} {
			if got := take(l, from+c.at); got != c.want && (from != 0 || c.at >= 0) {
				t.Errorf("from %v, at %v: %d, want %d", from, c.at, got, c.want)
			}
		}
	}
	if got := take(mustNew(t, rates), -time.Hour); got != 20 {
		t.Errorf("before the start: %d", got)
	}
}

// A flood from more networks than there are buckets stays within the table, and is counted.
func TestFullTable(t *testing.T) {
	c := rates
	c.Buckets = 100
	l := mustNew(t, c)
	if len(l.lines)*ways != 128 {
		t.Fatalf("%d buckets", len(l.lines)*ways)
	}
	for i := range 10_000 {
		l.Check(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), Error, nil, start)
	}
	if l.Counters.Evicted.Load() == 0 {
		t.Error("nothing was given up")
	}
}

func TestConcurrent(t *testing.T) {
	l := mustNew(t, rates)
	var wg sync.WaitGroup
	var answers [8]int
	for g := range answers {
		wg.Go(func() {
			for range 20_000 {
				if l.Check(addr("192.0.2.1"), Error, nil, start) == Answer {
					answers[g]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range answers {
		sum += n
	}
	if sum < 20 || sum > 20*ways {
		t.Errorf("%d answers at one moment, want 20", sum)
	}
}

func TestConfig(t *testing.T) {
	for want, c := range map[string]Config{
		"nxdomain": {Rates: [...]int{NXDomain: -1, Error: 0}}, "all": {All: MaxRate + 1}, "burst": {Burst: time.Millisecond},
		"slip": {Slip: 11}, "ipv4": {IPv4: 33}, "ipv6": {IPv6: 129}, "exempt": {Exempt: make([]netip.Prefix, 1)}, "buckets": {Buckets: -1},
	} {
		var wrong *Wrong
		if _, err := New(c, start); !errors.As(err, &wrong) || wrong.Key != want || !strings.Contains(err.Error(), want+": ") {
			t.Errorf("%s: %v", want, err)
		}
	}
	mustNew(t, Config{})
	for i, c := range append(slices.Clone(Classes[:]), all, classes) {
		if want := append(slices.Clone(classNames[:]), "unknown")[i]; fmt.Sprint(c) != want {
			t.Errorf("%v is called %q", want, c)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	l := mustNew(t, rates)
	client, name := addr("2001:db8::1"), []byte("\x03www\x07perigee\x04test\x00")
	if n := testing.AllocsPerRun(1000, func() { l.Check(client, Positive, name, start) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	c := rates
	c.Exempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	name := []byte("\x03www\x07perigee\x04test\x00")
	for _, networks := range []int{1000, 60_000} {
		b.Run(fmt.Sprintf("networks=%d", networks), func(b *testing.B) {
			l := mustNew(b, c)
			clients := make([]netip.Addr, networks)
			for i := range clients {
				clients[i] = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
			}
			i := 0
			for b.Loop() {
				if i++; i == len(clients) {
					i = 0
				}
				l.Check(clients[i], Positive, name, start)
			}
		})
	}
	b.Run("flood", func(b *testing.B) {
		l, victim := mustNew(b, c), addr("192.0.2.1")
		for b.Loop() {
			l.Check(victim, Positive, name, start)
		}
	})
}
