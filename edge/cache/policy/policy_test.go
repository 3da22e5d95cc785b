package policy

import (
	"bytes"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

const mib = 1 << 20

// segOf makes a segment of n records with random tags and the heat that f gives.
func segOf(rng *rand.Rand, n int, size int64, f func(i int) uint8) []Candidate {
	seg := make([]Candidate, n)
	for i := range seg {
		seg[i] = Candidate{Tag: rng.Uint64(), Size: size, Heat: f(i)}
	}
	return seg
}

func sizes(seg []Candidate) (kept, all int64) {
	for _, c := range seg {
		all += c.Size
		if c.Keep {
			kept += c.Size
		}
	}
	return kept, all
}

// TestReclaimMakesRoom: whatever the heat, at least a quarter of a segment is won, and in the long run at most half a byte is moved per byte admitted.
func TestReclaimMakesRoom(t *testing.T) {
	for name, heat := range map[string]uint8{"cold": 0, "warm": 3, "hot": MaxHeat, "damaged": 255} {
		for _, l := range []Log{Probation, Main} {
			rng := rand.New(rand.NewPCG(1, 2))
			p := New(Config{Size: 256 * mib})
			var admitted, moved int64
			for range 2000 {
				for range 64 {
					if p.Admit(rng.Uint64(), 16384) != Refuse {
						admitted += 16384
					}
				}
				seg := segOf(rng, 64, 16384, func(int) uint8 { return heat })
				p.Reclaim(l, seg)
				kept, all := sizes(seg)
				if kept > all*3/4 {
					t.Fatalf("%s: %d of %d bytes kept", name, kept, all)
				}
				for _, c := range seg {
					if c.Heat > MaxHeat {
						t.Fatalf("%s: heat %d does not fit in 6 bits", name, c.Heat)
					}
				}
				moved += kept
			}
			if moved > admitted/2 {
				t.Errorf("%s, log %d: %d bytes moved for %d admitted", name, l, moved, admitted)
			}
			if heat == MaxHeat && l == Probation && moved < admitted/4 {
				t.Errorf("%s, log %d: only %d bytes of hot records kept for %d admitted", name, l, moved, admitted)
			}
			if heat == 0 && moved != 0 {
				t.Errorf("records nobody asked for were kept: %d bytes", moved)
			}
		}
	}
}

func TestReclaimKeepsTheMostValuable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	p := New(Config{Size: 256 * mib})
	for range 1000 {
		p.Admit(rng.Uint64(), 65536)
	}
	hot := uint8(0)
	for range 10 {
		hot = p.Hit(hot, 1)
	}
	seg := segOf(rng, 100, 16384, func(i int) uint8 {
		if i%2 == 0 {
			return p.Hit(0, 1)
		}
		return hot
	})
	p.Reclaim(Main, seg)
	for i, c := range seg {
		if i%2 == 1 && !c.Keep {
			t.Errorf("record %d with ten hits was dropped", i)
		}
	}
	// Of two with the same heat the small one is worth more.
	small, large := Candidate{Tag: 1 << 50, Size: 1000, Heat: hot}, Candidate{Tag: 2 << 50, Size: 400_000, Heat: hot}
	seg = []Candidate{large, small}
	p.Reclaim(Main, seg)
	if seg[0].Keep || !seg[1].Keep {
		t.Errorf("kept %+v", seg)
	}
}

func TestReturnsGoToMain(t *testing.T) {
	const stranger = 0x0123456789abcdef
	p := New(Config{Size: 64 * mib})
	if a := p.Admit(stranger, 1000); a != ToProbation {
		t.Fatalf("first: %d", a)
	}
	seg := []Candidate{{Tag: 42 << 40, Size: 1000}}
	p.Reclaim(Probation, seg)
	if seg[0].Keep {
		t.Fatal("kept though nobody asked for it")
	}
	if a := p.Admit(stranger, 1000); a != ToMain {
		t.Errorf("after it was dropped: %d", a)
	}
	if a := p.Admit(0xfedcba9876543210, 1000); a != ToProbation {
		t.Errorf("a stranger: %d", a)
	}
	// Fifty times the cache's size later it is a stranger again.
	p.fresh.Add((ghostLife + 2) * 16 * mib)
	if a := p.Admit(stranger, 1000); a == ToMain {
		t.Error("a ghost lives for ever")
	}
}

// TestLargeStrangersAreRefused: when Main is full of valuable records and large ones in Probation bring nothing, large strangers are mostly refused,
// small ones and known ones are not.
func TestLargeStrangersAreRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	p := New(Config{Size: 64 * mib})
	for range 1000 {
		for range 4 {
			p.Admit(rng.Uint64(), 256<<10)
		}
		p.Reclaim(Probation, segOf(rng, 4, 256<<10, func(int) uint8 { return 0 }))
	}
	if a := p.Admit(rng.Uint64(), 256<<10); a != ToProbation {
		t.Errorf("while Main has room for anything: %d", a)
	}
	p.setBar(0.02) // as after many passes over records of 16 KiB with two hits
	p.judge()
	refused := 0
	for range 1000 {
		if p.Admit(rng.Uint64(), 256<<10) == Refuse {
			refused++
		}
		if a := p.Admit(rng.Uint64(), 200); a != ToProbation {
			t.Fatalf("small stranger: %d", a)
		}
	}
	if refused < 800 || refused == 1000 {
		t.Errorf("%d of 1000 refused; most should be, and some tried", refused)
	}
}

func TestHitStaysInSixBits(t *testing.T) {
	p := New(Config{Size: mib})
	for h := range 256 {
		if got := p.Hit(uint8(h), 1); got > MaxHeat || got&1 == 0 {
			t.Errorf("heat %d becomes %d", h, got)
		}
		if h < MaxHeat && p.Hit(uint8(h), 1) < uint8(h) {
			t.Errorf("heat %d shrinks", h)
		}
	}
}

// used returns a policy that has seen something.
func used(seed uint64) *Policy {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := New(Config{Size: 16 * mib, Ghosts: 4096})
	for range 500 {
		for range 16 {
			p.Admit(rng.Uint64N(5000)<<32|rng.Uint64N(5000), 1+rng.Int64N(100_000))
		}
		p.Reclaim(Log(rng.IntN(2)), segOf(rng, 20, 5000, func(int) uint8 { return uint8(rng.IntN(64)) }))
	}
	return p
}

func TestSaveAndLoad(t *testing.T) {
	p := used(7)
	state := saved(p)
	q := New(Config{Size: 16 * mib, Ghosts: 4096})
	if err := q.Load(state); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved(q), state) {
		t.Error("the state changed on its way")
	}
	rng := rand.New(rand.NewPCG(8, 1))
	for i := range 20_000 {
		tag, size := rng.Uint64N(5000)<<32|rng.Uint64N(5000), 1+rng.Int64N(1<<20)
		if a, b := p.Admit(tag, size), q.Admit(tag, size); a != b {
			t.Fatalf("request %d: %d before, %d after the restart", i, a, b)
		}
	}
	before := saved(q)
	for i := range state {
		bad := bytes.Clone(state)
		bad[i] ^= 0x10
		if q.Load(bad) == nil {
			t.Fatalf("a state with byte %d flipped was taken", i)
		}
		if i > 2000 {
			break // the rest is ghosts, all alike
		}
	}
	for _, bad := range [][]byte{nil, state[:10], state[:len(state)-1], append(bytes.Clone(state), 0)} {
		if q.Load(bad) == nil {
			t.Errorf("a state of %d bytes was taken", len(bad))
		}
	}
	if New(Config{Size: 17 * mib, Ghosts: 4096}).Load(state) == nil {
		t.Error("the state of a cache of another size was taken")
	}
	if !bytes.Equal(saved(q), before) {
		t.Error("a refused state changed something")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(saved(used(9)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := New(Config{Size: 16 * mib, Ghosts: 4096})
		if p.Load(b) == nil && !bytes.Equal(saved(p), b) {
			t.Error("a state was taken and is not what it says")
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	p := New(Config{Size: 16 * mib})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 3))
			for range 20_000 {
				p.Admit(rng.Uint64N(1000)*0x9e3779b97f4a7c15, 5000)
				p.Hit(uint8(rng.IntN(64)), 5000)
				if s := p.ProbationShare(); s <= 0 || s >= 1 {
					t.Errorf("share %v", s)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(9, 3))
	for i := range 500 {
		p.Reclaim(Log(i%2), segOf(rng, 50, 5000, func(int) uint8 { return uint8(rng.IntN(64)) }))
		if i%100 == 0 {
			saved(p)
		}
	}
	wg.Wait()
}

func TestOddInput(t *testing.T) {
	for _, size := range []int64{-1, 0, 1, 1 << 62} {
		p := New(Config{Size: size, Ghosts: 16})
		for _, n := range []int64{-5, 0, 1, 1 << 40} {
			p.Admit(uint64(n), n)
		}
		p.Reclaim(Main, nil)
		p.Reclaim(Main, []Candidate{{}})
		p.Reclaim(Probation, []Candidate{{Tag: 1, Size: 1 << 60, Heat: 255}, {Size: 1}})
	}
}

func BenchmarkHit(b *testing.B) {
	p := New(Config{Size: mib})
	h := uint8(0)
	for b.Loop() {
		h = p.Hit(h, 1000)
	}
}

func BenchmarkAdmit(b *testing.B) {
	p := New(Config{Size: 1 << 34})
	tag := uint64(0)
	for b.Loop() {
		tag += 0x9e3779b97f4a7c15
		p.Admit(tag, 10000)
	}
}

// saved is a whole saved state.
func saved(p *Policy) []byte { return slices.Concat(slices.Collect(copies(p.Save()))...) }

// copies keeps pieces that are good until the next one only.
func copies(pieces iter.Seq[[]byte]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for b := range pieces {
			if !yield(bytes.Clone(b)) {
				return
			}
		}
	}
}
