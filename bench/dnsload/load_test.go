package dnsload

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers UDP queries until the test ends. answers gets the number of each query, from 0, and the right answer to it, and returns what is sent.
func serve(t *testing.T, answers func(n int, right []byte) [][]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for n := 0; ; n++ {
			size, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			end := headerSize
			for b[end] != 0 {
				end += 1 + int(b[end])
			}
			end += 5
			addr, rcode := edgeA, byte(0)
			switch {
			case b[headerSize] == randomLabel:
				addr, rcode = netip.Addr{}, 3
			case b[headerSize+1] == 't': // two.example.test
				addr = edgeB
			}
			for _, p := range answers(n, rightAnswer(b[:size], end, rcode, addr)) {
				if _, err := conn.WriteTo(p, from); err != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

func honest(_ int, right []byte) [][]byte { return [][]byte{right} }

func TestRun(t *testing.T) {
	every := func(n int, other func([]byte) [][]byte) func(int, []byte) [][]byte {
		return func(i int, right []byte) [][]byte {
			if i%n == n-1 {
				return other(right)
			}
			return [][]byte{right}
		}
	}
	for _, x := range []struct {
		name               string
		answers            func(int, []byte) [][]byte
		patience           float64
		right, wrong, lost int64
	}{
		{"honest", honest, 30, 1000, 0, 0},
		{"drops every tenth", every(10, func([]byte) [][]byte { return nil }), 2, 900, 0, 100},
		{"answers every tenth twice", every(10, func(right []byte) [][]byte { return [][]byte{right, right} }), 30, 1000, -1, 0},
		{"another address every tenth", every(10, func(right []byte) [][]byte {
			right = slices.Clone(right)
			right[3] = 2 // SERVFAIL
			return [][]byte{right}
		}), 30, 900, 100, 0},
		{"another id every tenth", every(10, func(right []byte) [][]byte {
			right = slices.Clone(right)
			right[0] ^= 0x80
			return [][]byte{right}
		}), 2, 900, 100, 100},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			mixed := []Kind{steered, static, missing}
			mixed[0].Weight = 5
			heard := int64(0)
			r, err := Run(Config{Addr: serve(t, x.answers), Kinds: mixed, Outstanding: 100, Queries: 1000, Patience: x.patience, Seed: 1,
				Heard: func(netip.Prefix, netip.Addr) { heard++ }})
			if err != nil {
				t.Fatal(err)
			}
			// Of two answers the second may come when all is over.
			if r.Right != x.right || r.Lost != x.lost || x.wrong >= 0 && r.Wrong != x.wrong || x.wrong < 0 && (r.Wrong < 90 || r.Wrong > 100) {
				t.Errorf("%+v, want %d right, %d wrong, %d lost", r, x.right, x.wrong, x.lost)
			}
			if (r.First == "") != (r.Wrong+r.Lost == 0) || r.P50 > r.P99 || r.P99 > r.P999 || r.P999 <= 0 || r.CPU <= 0 || r.Seconds <= 0 {
				t.Errorf("%+v", r)
			}
			if heard == 0 || heard >= r.Right {
				t.Errorf("of %d right answers %d have an address", r.Right, heard)
			}
		})
	}
}

// TestRunNobodyThere: where nobody listens, all is lost and that is no error.
func TestRunNobodyThere(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // it never answers, and nobody else can take its port
	r, err := Run(Config{Addr: conn.LocalAddr().String(), Kinds: []Kind{steered}, Outstanding: 3, Queries: 7, Patience: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	if r.Right != 0 || r.Wrong != 0 || r.Lost != 7 {
		t.Errorf("%+v", r)
	}
}

func TestRunRefuses(t *testing.T) {
	good := Config{Addr: "127.0.0.1:1", Kinds: []Kind{steered}, Outstanding: 1, Queries: 1}
	for name, change := range map[string]func(*Config){
		"address":  func(c *Config) { c.Addr = "localhost" },
		"none":     func(c *Config) { c.Outstanding = 0 },
		"too many": func(c *Config) { c.Outstanding = maxOutstanding + 1 },
		"no kind":  func(c *Config) { c.Kinds = nil },
		"weights":  func(c *Config) { c.Kinds = []Kind{static}; c.Kinds[0].Weight = 0 },
	} {
		cfg := good
		change(&cfg)
		if _, err := Run(cfg); err == nil {
			t.Errorf("%s: it was accepted", name)
		}
	}
}
