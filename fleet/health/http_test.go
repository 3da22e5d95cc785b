package health_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"perigee/fleet"
	"perigee/fleet/health"
)

var quiet = slog.New(slog.DiscardHandler)

func wordOf(err error) string {
	var f *health.Failure
	if errors.As(err, &f) {
		return f.Word
	}
	if err != nil {
		return "no failure: " + err.Error()
	}
	return ""
}

func TestCheckJudgesAnswers(t *testing.T) {
	for _, c := range []struct {
		name, caches string
		status       int
		want         string
	}{
		{"unknown site", "fra; fwd=bypass; detail=unknown-site", 404, ""},
		{"served", "fra; hit", 200, ""},
		{"redirect", "fra", 302, ""},
		{"with caches before it", "fra; hit, front", 200, ""},
		{"a quoted name", `"fra"; hit`, 200, ""},
		{"knows no sites yet", "fra; detail=sites-unknown", 503, health.WordBadAnswer},
		{"another edge", "nyc; hit", 200, health.WordWrongNode},
		{"another edge before it", "front, fra; hit", 200, health.WordWrongNode},
		{"no edge", "", 200, health.WordWrongNode},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got *http.Request
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				w.Header().Set("Cache-Status", c.caches)
				w.Header().Set("Location", "http://192.0.2.1/")
				w.WriteHeader(c.status)
			}))
			defer s.Close()
			err := health.NewHTTP("", "").Check(t.Context(), &fleet.Node{Report: fleet.Report{Node: "fra", Addrs: addrOf(t, s.Listener)}})
			if wordOf(err) != c.want {
				t.Errorf("%v, not %q", err, c.want)
			}
			if got.Host != health.DefaultHost || got.URL.Path != "/" || got.Method != "GET" || !got.Close {
				t.Errorf("asked %s %s of %s, last %v", got.Method, got.URL, got.Host, got.Close)
			}
		})
	}
}

func addrOf(t *testing.T, ln net.Listener) []netip.AddrPort {
	t.Helper()
	return []netip.AddrPort{netip.MustParseAddrPort(ln.Addr().String())}
}

func TestCheckNamesFailures(t *testing.T) {
	serve := func(do func(net.Conn)) net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				do(c)
			}
		}()
		return ln
	}
	gone := serve(func(net.Conn) {})
	gone.Close()
	held := make(chan net.Conn, 1)
	silent := serve(func(c net.Conn) { held <- c })
	closes := serve(func(c net.Conn) { c.Read(make([]byte, 1024)); c.Close() })
	talks := serve(func(c net.Conn) { c.Read(make([]byte, 1024)); c.Write([]byte("SSH-2.0-OpenSSH\r\n\r\n")); c.Close() })
	for want, addrs := range map[string][]netip.AddrPort{
		health.WordRefused: addrOf(t, gone), health.WordReset: addrOf(t, closes), health.WordBadAnswer: addrOf(t, talks), health.WordNoRoute: nil,
		health.WordTimeout: addrOf(t, silent),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if want == health.WordTimeout {
			ctx, cancel = context.WithDeadline(ctx, time.Now().Add(50*time.Millisecond))
		}
		err := health.NewHTTP("", "").Check(ctx, &fleet.Node{Report: fleet.Report{Node: "fra", Addrs: addrs}})
		cancel()
		if got := wordOf(err); got != want {
			t.Errorf("%v, not %s", err, want)
		}
		r := fleet.Report{Format: 1, Node: "dns", State: fleet.Ready, Probes: map[string]fleet.Verdict{"fra": {Err: want}}}
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
	}
	(<-held).Close()
}

// A second family must answer as well, and only the first address of each is asked.
func TestCheckAsksEachFamily(t *testing.T) {
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Status", "fra") }))
	defer edge.Close()
	good := addrOf(t, edge.Listener)[0]
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bad := addrOf(t, gone)[0]
	gone.Close()
	check := func(addrs ...netip.AddrPort) string {
		return wordOf(health.NewHTTP("", "").Check(t.Context(), &fleet.Node{Report: fleet.Report{Node: "fra", Addrs: addrs}}))
	}
	if got := check(good, bad); got != "" {
		t.Errorf("asked an address that DNS does not answer: %s", got)
	}
	if got := check(bad, good); got != health.WordRefused {
		t.Errorf("%q", got)
	}
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	bad6 := addrOf(t, ln)[0]
	ln.Close()
	if got := check(good, bad6); got != health.WordRefused {
		t.Errorf("a family that does not answer: %q", got)
	}
}
