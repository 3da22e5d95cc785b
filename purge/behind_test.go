package purge

import "testing"

func TestBehind(t *testing.T) {
	at := func(stream string, n uint64) Position { return At("eu", Mark{Stream: stream, Seq: n}) }
	two := at("s", 5).With("us", Mark{Stream: "u", Seq: 9})
	for _, c := range []struct {
		name string
		p, q Position
		want uint64
		ok   bool
	}{
		{"same", at("s", 5), at("s", 5), 0, true},
		{"behind", at("s", 5), at("s", 8), 3, true},
		{"ahead", at("s", 8), at("s", 5), 0, true},
		{"nothing to reach", at("s", 8), Position{}, 0, true},
		{"other stream", at("s", 8), at("t", 9), 0, false},
		{"nothing seen", Position{}, at("s", 1), 0, false},
		{"two regions add up", at("s", 2).With("us", Mark{Stream: "u", Seq: 8}), two, 4, true},
		{"a region is missing", at("s", 5), two, 0, false},
	} {
		if got, ok := c.p.Behind(c.q); got != c.want || ok != c.ok {
			t.Errorf("%s: Behind = %d, %v, want %d, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}
