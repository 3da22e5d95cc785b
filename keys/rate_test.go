package keys

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rated is a guarded server with rates, beyond loopback.
func rated(t *testing.T, r Rates) (*console, *Ring, *handClock) {
	c := newHandClock()
	ring := openRing(t, Config{File: filepath.Join(t.TempDir(), "keys.json"), Clock: c})
	create(t, ring, ScopeAdmin)
	k := newConsole(t, "192.0.2.1:8080", "", ring, c)
	k.rater = newRater(r, c)
	k.handler = k.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	return k, ring, c
}

func (k *console) send(key, remote, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "http://192.0.2.1:8080/api/v1/x", strings.NewReader(body))
	r.RemoteAddr = remote
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, r)
	return w
}

const someone = "198.51.100.7:1000"

func TestRequestsOfAKeyAreLimited(t *testing.T) {
	k, ring, c := rated(t, Rates{Requests: 2, Burst: 5 * time.Second})
	key, _ := create(t, ring, ScopeRead)
	other, _ := create(t, ring, ScopeRead)
	for i := range 10 {
		w := k.send(key, someone, "")
		if w.Code != 200 || w.Header().Get("RateLimit-Policy") != `"requests";q=10;w=5` ||
			w.Header().Get("RateLimit") != fmt.Sprintf(`"requests";r=%d;t=%d`, 9-i, (i+2)/2) {
			t.Fatalf("request %d: %d %v", i, w.Code, w.Header())
		}
	}
	w := k.send(key, someone, "")
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "/problems/too-many-requests") ||
		w.Header().Get("RateLimit") != `"requests";r=0;t=5` {
		t.Fatalf("beyond the burst: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := k.send(other, someone, ""); w.Code != 200 {
		t.Fatalf("another key pays for it: %d", w.Code)
	}
	c.advance(time.Second)
	for i, want := range []int{200, 200, 429} {
		if w := k.send(key, someone, ""); w.Code != want {
			t.Fatalf("a second later, request %d: %d", i, w.Code)
		}
	}
}

func TestBytesOfAKeyAreLimited(t *testing.T) {
	k, ring, c := rated(t, Rates{Bytes: 100})
	key, _ := create(t, ring, ScopePublish)
	if w := k.send(key, someone, strings.Repeat("x", 1500)); w.Code != 200 || w.Header().Get("RateLimit-Policy") != `"upload-bytes";q=1000;qu="content-bytes";w=10` {
		t.Fatalf("a body beyond the burst is taken: %d %v", w.Code, w.Header())
	}
	w := k.send(key, someone, "")
	if wait, _ := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != 429 || wait != 6 {
		t.Fatalf("after it: %d %v", w.Code, w.Header())
	}
	c.advance(5 * time.Second)
	if w := k.send(key, someone, ""); w.Code != 429 {
		t.Fatalf("in debt still: %d", w.Code)
	}
	c.advance(time.Second)
	if w := k.send(key, someone, ""); w.Code != 200 {
		t.Fatalf("paid: %d", w.Code)
	}
}

func TestAKeysOwnRateCounts(t *testing.T) {
	k, ring, _ := rated(t, Rates{Requests: 1000})
	key, _, err := ring.Create(t.Context(), NewKey{Name: "slow", Limits: Limits{RequestsPerSecond: 0.1}})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := k.send(key, someone, ""), k.send(key, someone, ""); a.Code != 200 || b.Code != 429 || b.Header().Get("Retry-After") != "10" {
		t.Fatal(a.Code, b.Code, b.Header())
	}
}

func TestRefusedRequestsAreLimitedByNetwork(t *testing.T) {
	k, ring, c := rated(t, Rates{Refused: 1, Burst: 3 * time.Second})
	key, _ := create(t, ring, ScopeRead)
	for i, want := range []int{401, 401, 401, 429, 429} {
		if w := k.send("pk_wrong", fmt.Sprintf("[2001:db8::%d]:1", i+1), ""); w.Code != want {
			t.Fatalf("attempt %d: %d", i, w.Code)
		}
	}
	if w := k.send(key, "[2001:db8::9]:1", ""); w.Code != 200 {
		t.Fatalf("a good key of the same network: %d", w.Code)
	}
	if w := k.send("", "[2001:db8:0:1::1]:1", ""); w.Code != 401 {
		t.Fatalf("another network: %d", w.Code)
	}
	c.advance(time.Second)
	if w := k.send("", "[2001:db8::1]:1", ""); w.Code != 401 {
		t.Fatalf("a second later: %d", w.Code)
	}
}

func TestRatesTakeBoundedMemory(t *testing.T) {
	c := newHandClock()
	r := newRater(Rates{Refused: 1}, c)
	for i := range 3 * maxRated {
		r.take("n "+networkOf(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})).String(), 1, 1)
		if len(r.buckets) > maxRated {
			t.Fatalf("%d buckets", len(r.buckets))
		}
	}
}
