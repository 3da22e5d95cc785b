package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
)

// Mix describes generated traffic; the zero value of a field means its default. The same Mix gives the same requests on every machine of one architecture.
type Mix struct {
	Seed     uint64
	Requests int     // default 1,000,000
	Objects  int     // popular objects, default 100,000
	Zipf     float64 // exponent of their popularity, default 0.9
	OneHit   float64 // share of requests for objects never asked for again
	Sizes    string  // one, lognormal (default; median 16 KiB, mean about 130 KiB) or pareto (shape 1.1 from 2 KiB), 100 B to 1 GB
	Scan     float64 // share of requests that belong to scans over the cold half of the catalogue
	Drift    float64 // share of the catalogue replaced over the trace, evenly
	Flip     int     // times the popular half swaps with another, as by day and night
}

// ParseMix reads a Mix written as key=value,… with the field names in lower case.
func ParseMix(s string) (Mix, error) {
	var m Mix
	for _, part := range strings.Split(s, ",") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		var err error
		switch k {
		case "seed":
			m.Seed, err = strconv.ParseUint(v, 10, 64)
		case "requests":
			m.Requests, err = strconv.Atoi(v)
		case "objects":
			m.Objects, err = strconv.Atoi(v)
		case "flip":
			m.Flip, err = strconv.Atoi(v)
		case "sizes":
			m.Sizes = v
		case "zipf":
			m.Zipf, err = strconv.ParseFloat(v, 64)
		case "onehit":
			m.OneHit, err = strconv.ParseFloat(v, 64)
		case "scan":
			m.Scan, err = strconv.ParseFloat(v, 64)
		case "drift":
			m.Drift, err = strconv.ParseFloat(v, 64)
		default:
			return m, fmt.Errorf("read mix: no key %q; there are seed, requests, objects, zipf, onehit, sizes, scan, drift, flip", k)
		}
		if err != nil {
			return m, fmt.Errorf("read mix: %s=%s: %w", k, v, err)
		}
	}
	return m, m.check()
}

func (m *Mix) check() error {
	if m.Requests == 0 {
		m.Requests = 1_000_000
	}
	if m.Objects == 0 {
		m.Objects = 100_000
	}
	if m.Zipf == 0 {
		m.Zipf = 0.9
	}
	if m.Sizes == "" {
		m.Sizes = "lognormal"
	}
	switch {
	case m.Requests < 1 || m.Requests > 1<<31 || m.Objects < 2 || m.Objects > 1<<26 || m.Flip < 0:
		return fmt.Errorf("check mix: requests must be 1 to 2^31, objects 2 to 2^26, flip not negative")
	case !(m.Zipf > 0 && m.Zipf <= 3):
		return fmt.Errorf("check mix: zipf=%v must be in 0 to 3", m.Zipf)
	case !(m.OneHit >= 0 && m.Scan >= 0 && m.OneHit+m.Scan <= 1 && m.Drift >= 0 && m.Drift <= 100):
		return fmt.Errorf("check mix: onehit and scan are shares and at most 1 together, drift is 0 to 100")
	case m.Sizes != "one" && m.Sizes != "lognormal" && m.Sizes != "pareto":
		return fmt.Errorf("check mix: sizes=%s must be one, lognormal or pareto", m.Sizes)
	}
	return nil
}

// Generate calls f with each request of m and its second since the start; it ends early when f fails. Memory: 8 bytes per object.
func (m Mix) Generate(f func(second int64, r Request) error) error {
	if err := m.check(); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(m.Seed, 0x9e3779b97f4a7c15))
	cdf := make([]float64, m.Objects)
	sum := 0.0
	for i := range cdf {
		sum += math.Pow(float64(i+1), -m.Zipf)
		cdf[i] = sum
	}
	scan := uint64(0)
	for n := range m.Requests {
		var id uint64
		switch u := rng.Float64(); {
		case u < m.OneHit:
			id = 1<<62 | uint64(n)
		case u < m.OneHit+m.Scan:
			id = uint64(m.Objects/2) + scan%uint64(m.Objects-m.Objects/2)
			scan++
		default:
			id = m.rank(uint64(sort.SearchFloat64s(cdf, rng.Float64()*sum)), n)
		}
		key := mix(id ^ m.Seed<<32 ^ 0x5bd1e995)
		if err := f(int64(n)/100, Request{key, m.size(key)}); err != nil {
			return err
		}
	}
	return nil
}

// rank turns a rank of popularity into the object that has it at request n.
func (m *Mix) rank(r uint64, n int) uint64 {
	objects := uint64(m.Objects)
	r = min(r, objects-1)
	at := float64(n) / float64(m.Requests)
	if m.Flip > 0 && int(at*float64(m.Flip+1))%2 == 1 {
		r ^= 1 // neighbours swap, and the popular half with objects of the night
		if r%2 == 0 {
			r |= 1 << 40
		}
	}
	if m.Drift > 0 {
		// Each rank changes hands at its own moments, Drift times over the trace.
		r |= uint64(at*m.Drift+float64(mix(r)>>11)/(1<<53)) << 42
	}
	return r
}

// size is the size of the object with key: the same in every request.
func (m *Mix) size(key uint64) int64 {
	rng := rand.New(rand.NewPCG(key, 1))
	var s float64
	switch m.Sizes {
	case "one":
		return 1
	case "pareto":
		s = 2048 * math.Pow(1-rng.Float64(), -1/1.1)
	default:
		s = math.Exp(math.Log(16384) + 2.05*rng.NormFloat64())
	}
	return int64(min(max(s, 100), 1e9))
}
