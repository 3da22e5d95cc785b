package share

import (
	"log/slog"
	"testing"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/sign"
	"perigee/fleet/bus"
)

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestOverTheBus: three nodes and a stranger, all with the key of a node to a bus with users.
func TestOverTheBus(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	server, err := bus.Start(bus.ServerConfig{
		Listen: "127.0.0.1:0", StoreDir: t.TempDir(), Log: quiet, Clock: clock.System,
		Users: []bus.User{{Name: "api", Password: "api-secret", Control: true}, {Name: "edge", Password: "edge-secret"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	client := func() *bus.Client {
		c, err := bus.Connect(t.Context(), bus.ClientConfig{
			URL: server.URL(), User: "edge", Password: "edge-secret", Name: t.Name(), Region: "r1", Log: quiet, Clock: clock.System,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	a, b, late, stranger := newNode(t), newNode(t), newNode(t), newNode(t)
	set := a.generate()
	a.join(client(), a, b, late)
	b.join(client(), a, b, late)
	stranger.join(client(), a, b, late) // it trusts them; they do not trust it
	eventually(t, "the set of one node reaches another", func() bool { return b.has(set) })
	set = b.roll()
	eventually(t, "a rollover goes back", func() bool { return a.has(set) })
	late.join(client(), a, b, late)
	if !late.share.Awaited() {
		t.Error("a node without keys does not wait for them")
	}
	eventually(t, "the set reaches a node that joins late", func() bool { return late.has(set) && !late.share.Awaited() })

	eventually(t, "the stranger's asks are counted", func() bool { return a.took(Untrusted) > 0 && b.took(Untrusted) > 0 })
	before := late.took(Untrusted)
	mine := stranger.generate()
	eventually(t, "the stranger sends the keys it has made", func() bool { return stranger.has(mine) && stranger.share.Counters().Sets.Load() > 0 })
	eventually(t, "the stranger's keys are counted", func() bool { return late.took(Untrusted) > before })
	forged, err := sign.Generate(zone, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	forged.Serial = 99
	m, err := sign.Seal(forged, a.id, stranger.id.Public())
	if err != nil {
		t.Fatal(err)
	}
	damaged := late.took(Damaged)
	if err := client().PublishDNSKeys(late.id.String(), m); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is for another node is counted", func() bool { return late.took(Damaged) > damaged })
	if !a.has(set) || !b.has(set) || !late.has(set) || !stranger.has(mine) || stranger.took(Accepted) > 0 || stranger.took(Damaged) > 0 {
		t.Error("a stranger's messages changed something, or it got some")
	}
}
