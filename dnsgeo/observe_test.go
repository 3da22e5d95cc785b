package dnsgeo

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"perigee/clock"
	"perigee/dnsgeo/querylog"
	"perigee/dnsgeo/tap"
)

// TestQueriesAreTold: the log and the tap hear of each query, whichever way it was answered.
func TestQueriesAreTold(t *testing.T) {
	dir := t.TempDir()
	file, frames := filepath.Join(dir, "queries.log"), filepath.Join(dir, "queries.tap")
	queries, err := querylog.Open(querylog.Config{Path: file, Format: querylog.JSON, Clients: querylog.Clients{IPv4: 24, IPv6: 48}, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	tapped, err := tap.Open(tap.Config{File: frames, Identity: "ns1", Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- queries.Run(ctx) }()
	go func() { done <- tapped.Run(ctx) }()
	r := newRig(t, func(c *Config) { c.Cookies, c.Queries, c.Tap = jar(t), queries, tapped })
	asked := 0
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"wWw.perigee.test.", "mail.perigee.test.", "nothing.perigee.test.", "example.com."} {
			m := new(dns.Msg)
			m.SetQuestion(name, dns.TypeA)
			m.SetEdns0(1232, true)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 32, Address: []byte{81, 2, 69, 142}},
				&dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: make([]byte, 8)})
			if _, _, err := (&dns.Client{Net: network}).Exchange(m, r.Addr().String()); err != nil {
				t.Fatal(err)
			}
			asked++
		}
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	if len(lines) != asked {
		t.Fatalf("%d lines for %d queries:\n%s", len(lines), asked, b)
	}
	steered := 0
	for _, line := range lines {
		var e map[string]any
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if bytes.Contains(line, []byte("69.142")) {
			t.Errorf("a whole address: %s", line)
		}
		if e["edge"] == "fra" {
			steered++
		}
	}
	if steered != 2 {
		t.Errorf("%d steered:\n%s", steered, b)
	}
	if tapped.Written() < int64(2*asked) || tapped.Dropped() > 0 {
		t.Errorf("the tap was told of %d messages, %d were lost", tapped.Written(), tapped.Dropped())
	}
}
