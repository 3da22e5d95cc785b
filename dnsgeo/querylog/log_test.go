package querylog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/clock"
	"perigee/spool"
)

var entry = Entry{
	Time: time.Date(2026, 11, 25, 19, 19, 29, 42_117_900, time.FixedZone("CET", 3600)), Duration: 21_999 * time.Nanosecond,
	Client: netip.MustParseAddr("192.0.2.77"), Transport: UDP, Name: []byte("\x03www\x07perigee\x04test\x00"), Type: 1,
	ECS: netip.MustParsePrefix("198.51.100.128/25"), Edge: "fra", Scope: 20, DO: true, Cookie: "good", Size: 96,
}

func edit(f func(*Entry)) *Entry {
	e := entry
	f(&e)
	return &e
}

func TestText(t *testing.T) {
	const at = "2026-11-25T18:19:29.042117Z "
	for _, c := range []struct {
		clients string
		e       *Entry
		want    string
	}{
		{"address", &entry, "192.0.2.77 udp www.perigee.test. A 198.51.100.128/25 NOERROR fra 20 do,cookie=good 96 21"},
		{"24/56", &entry, "192.0.2.0/24 udp www.perigee.test. A 198.51.100.0/24 NOERROR fra 20 do,cookie=good 96 21"},
		{"none", &entry, "- udp www.perigee.test. A - NOERROR fra 20 do,cookie=good 96 21"},
		{"0/56", &entry, "- udp www.perigee.test. A - NOERROR fra 20 do,cookie=good 96 21"},
		{"16/128", edit(func(e *Entry) {
			e.Client, e.ECS, e.Type, e.Transport = netip.MustParseAddr("2001:db8:1:2:3::4"), netip.MustParsePrefix("::ffff:198.51.100.0/120"), 65, DoT
		}), "2001:db8:1:2:3::4 dot www.perigee.test. HTTPS 198.51.0.0/16 NOERROR fra 20 do,cookie=good 96 21"},
		{"24/40", edit(func(e *Entry) {
			e.Client, e.ECS = netip.MustParseAddr("2001:db8:1:2:3::4%eth0"), netip.MustParsePrefix("2001:db8:1::/48")
		}), "2001:db8::/40 udp www.perigee.test. A 2001:db8::/40 NOERROR fra 20 do,cookie=good 96 21"},
		{"none", edit(func(e *Entry) {
			e.ECS, e.Scope = netip.MustParsePrefix("0.0.0.0/0"), 0
		}), "- udp www.perigee.test. A 0.0.0.0/0 NOERROR fra 0 do,cookie=good 96 21"},
		{"address", edit(func(e *Entry) {
			e.Client, e.Name, e.Type, e.ECS, e.Rcode, e.Edge, e.DO, e.Cookie = netip.MustParseAddr("::ffff:192.0.2.1"), nil, 0, netip.Prefix{}, 1, "", false, ""
		}), "192.0.2.1 udp - TYPE0 - FORMERR - - - 96 21"},
		{"address", edit(func(e *Entry) {
			e.Name, e.Type, e.Rcode, e.TC, e.Limited, e.Duration = []byte("\x0aa. \"\\\n;@\xffZ\x00"), 65280, 24, true, "slip", -1
		}), `192.0.2.77 udp a\.\032\"\\\010\;\@\255Z. TYPE65280 198.51.100.128/25 RCODE24 fra 20 tc,do,cookie=good,limited=slip 96 0`},
		{"address", edit(func(e *Entry) { e.Name, e.Rcode = []byte{0}, 23 }), `192.0.2.77 udp . A 198.51.100.128/25 BADCOOKIE fra 20 do,cookie=good 96 21`},
	} {
		clients, err := ParseClients(c.clients)
		if err != nil {
			t.Fatal(err)
		}
		l := &Log{clients: clients}
		if got := string(l.appendText(nil, c.e, new(spool.Stamp))); got != at+c.want+"\n" {
			t.Errorf("%s\nwant\n%s", got, at+c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	l := &Log{clients: Clients{24, 56}}
	for _, c := range []struct {
		e    *Entry
		want string
	}{
		{&entry, `{"time":"2026-11-25T18:19:29.042117Z","client":"192.0.2.0/24","transport":"udp","name":"www.perigee.test.","type":"A","ecs":"198.51.100.0/24",` +
			`"rcode":"NOERROR","edge":"fra","scope":20,"tc":false,"do":true,"cookie":"good","limited":"","size":96,"us":21}`},
		{edit(func(e *Entry) {
			e.Client, e.Name, e.ECS, e.Edge, e.Cookie, e.Rcode = netip.Addr{}, []byte("\x05a\"\\\n\xff\x00"), netip.Prefix{}, "", "", 3
		}), `{"time":"2026-11-25T18:19:29.042117Z","client":"","transport":"udp","name":"a\\\"\\\\\\010\\255.","type":"A","ecs":"",` +
			`"rcode":"NXDOMAIN","edge":"","scope":null,"tc":false,"do":true,"cookie":"","limited":"","size":96,"us":21}`},
	} {
		if got := string(l.appendJSON(nil, c.e, new(spool.Stamp))); got != c.want+"\n" {
			t.Errorf("%s\nwant\n%s", got, c.want)
		}
	}
}

// FuzzLine: no name can end its line, begin another or have a space in it, and both formats tell the same.
func FuzzLine(f *testing.F) {
	f.Add([]byte("\x03www\x07perigee\x04test\x00"), []byte{192, 0, 2, 1}, uint16(1), uint16(0))
	f.Add([]byte("\x01\"\x02\\ \x03\n\r\t\x00"), make([]byte, 16), uint16(65535), uint16(4095))
	f.Add([]byte("\x40"), []byte{}, uint16(0), uint16(16))
	l := &Log{clients: Clients{32, 128}}
	f.Fuzz(func(t *testing.T, name, addr []byte, qtype, rcode uint16) {
		client, _ := netip.AddrFromSlice(addr)
		e := edit(func(e *Entry) { e.Name, e.Client, e.Type, e.Rcode = name, client, qtype, rcode })
		line := l.appendJSON(nil, e, new(spool.Stamp))
		var v struct{ Client, Name, Type, Rcode string }
		if err := json.Unmarshal(line, &v); err != nil || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q: %v", line, err)
		}
		line = l.appendText(nil, e, new(spool.Stamp))
		columns := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
		if len(columns) != 12 || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%d columns in %q", len(columns), line)
		}
		for i, want := range map[int]string{1: v.Client, 3: v.Name, 4: v.Type, 6: v.Rcode} {
			if got := columns[i]; got != want && (got != "-" || want != "") {
				t.Fatalf("%q is %q as JSON", got, want)
			}
		}
	})
}

func TestParseClients(t *testing.T) {
	for text, want := range map[string]Clients{"address": {32, 128}, "none": {}, "24/56": {24, 56}, "0/0": {}, "32/128": Clients{32, 128}} {
		if got, err := ParseClients(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "24", "33/56", "24/129", "-1/56", "24/56/1", "a/b", "all"} {
		if got, err := ParseClients(text); err == nil || !strings.Contains(err.Error(), "24/56") {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queries")
	l, err := Open(Config{Path: path, Clients: Clients{24, 56}, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if !l.Wanted() {
			t.Error("not all are wanted")
		}
		l.Add(i, edit(func(e *Entry) { e.Size = i }))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || bytes.Count(b, []byte("\n")) != 5 || bytes.Count(b, []byte(" 192.0.2.0/24 udp ")) != 5 || l.Written() != 5 || l.Dropped() != 0 {
		t.Errorf("%s, %v, %d written, %d dropped", b, err, l.Written(), l.Dropped())
	}
}

func TestSample(t *testing.T) {
	for _, sample := range []float64{0.001, 0.25, 0.9} {
		l, err := Open(Config{Path: "-", Stdout: io.Discard, Sample: sample, Clock: clock.System})
		if err != nil {
			t.Fatal(err)
		}
		const n = 200_000
		wanted := 0.0
		for range n {
			if l.Wanted() {
				wanted++
			}
		}
		// Seven standard deviations: chance alone does not fail this.
		if d := math.Abs(wanted - n*sample); d > 7*math.Sqrt(n*sample*(1-sample)) {
			t.Errorf("sample %v: %v of %d", sample, wanted, n)
		}
	}
}

func TestOpen(t *testing.T) {
	for want, cfg := range map[string]Config{
		"no format":        {Path: "-", Format: "combined"},
		"between 0 and 1":  {Path: "-", Sample: math.NaN()},
		"a sample of 2":    {Path: "-", Sample: 2},
		"more bits":        {Path: "-", Clients: Clients{33, 0}},
		"no such file":     {Path: filepath.Join(t.TempDir(), "none", "log")},
		"a sample of -0.1": {Path: "-", Sample: -0.1},
	} {
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "open query log: ") {
			t.Errorf("%s: %v", want, err)
		}
	}
	var off *Log
	off.Add(0, &entry)
	if err := off.Run(t.Context()); err != nil || off.Wanted() || off.Close() != nil || off.Dropped()+off.Written() != 0 {
		t.Error("a log that is off does something")
	}
}

func TestNoAllocation(t *testing.T) {
	for _, format := range []Format{Text, JSON} {
		l, err := Open(Config{Path: "-", Stdout: io.Discard, Format: format, Clients: Clients{24, 56}, Buffers: 1, Clock: clock.System})
		if err != nil {
			t.Fatal(err)
		}
		l.Add(0, &entry) // makes the buffer
		if n := testing.AllocsPerRun(100, func() { l.Add(0, &entry) }); n != 0 {
			t.Errorf("%s: %v allocations", format, n)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, format := range []Format{Text, JSON} {
		b.Run(string(format), func(b *testing.B) {
			l, err := Open(Config{Path: "-", Format: format, Clients: Clients{24, 56}, Stdout: io.Discard, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- l.Run(ctx) }()
			b.ReportAllocs()
			for b.Loop() {
				l.Add(0, &entry)
			}
			cancel()
			<-done
		})
	}
}

func TestWords(t *testing.T) {
	seen := map[string]bool{"": true}
	for _, table := range [][]string{types[:], rcodes[:]} {
		for i, w := range table {
			if w != "" && (seen[w] || strings.ToUpper(w) != w) {
				t.Errorf("%d: %q is there twice, or in lower case", i, w)
			}
			seen[w] = true
		}
		delete(seen, "")
		seen[""] = true
	}
	if got := fmt.Sprintf("%s %s %s", appendType(nil, 28), appendType(nil, 3), appendRcode(nil, 12)); got != "AAAA TYPE3 RCODE12" {
		t.Error(got)
	}
}
