package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"perigee/clock"
	"perigee/spool"
)

var entry = Entry{
	Time: time.Date(2026, 11, 25, 19, 19, 29, 42_900_000, time.FixedZone("CET", 3600)), Duration: 21*time.Microsecond + 1_000_000*time.Microsecond,
	Client: "192.0.2.1:51000", Method: "GET", Host: "www.example", Target: "/file?q=1", Minor: 1, Status: 200, Bytes: 5,
	Fwd: "uri-miss", Reason: "not-held", Agent: "curl/8.5",
}

func edit(f func(*Entry)) *Entry {
	e := entry
	f(&e)
	return &e
}

func TestCombined(t *testing.T) {
	for _, c := range []struct {
		e    *Entry
		want string
	}{
		{&entry, `192.0.2.1 - - [25/Nov/2026:18:19:29 +0000] "GET /file?q=1 HTTP/1.1" 200 5 "-" "curl/8.5"`},
		{edit(func(e *Entry) { e.Client, e.Minor, e.Bytes, e.Referer = "[2001:db8::1]:80", 0, 0, "http://a/" }),
			`2001:db8::1 - - [25/Nov/2026:18:19:29 +0000] "GET /file?q=1 HTTP/1.0" 200 - "http://a/" "curl/8.5"`},
		{edit(func(e *Entry) { e.Agent = "a\" \\ \r\n\t\x00\x7f\xffü" }),
			`192.0.2.1 - - [25/Nov/2026:18:19:29 +0000] "GET /file?q=1 HTTP/1.1" 200 5 "-" "a\" \\ \r\n\t\x00\x7f\xff\xc3\xbc"`},
		{edit(func(e *Entry) { e.Client = "2001:db8::1" }),
			`2001:db8::1 - - [25/Nov/2026:18:19:29 +0000] "GET /file?q=1 HTTP/1.1" 200 5 "-" "curl/8.5"`},
		{edit(func(e *Entry) { e.Client, e.Target, e.Time = "@", "/x\" 200 1\n6.6.6.6", e.Time.Add(time.Hour) }),
			`@ - - [25/Nov/2026:19:19:29 +0000] "GET /x\" 200 1\n6.6.6.6 HTTP/1.1" 200 5 "-" "curl/8.5"`},
	} {
		if got := string(appendCombined(nil, c.e, new(spool.Stamp))); got != c.want+"\n" {
			t.Errorf("%s\nwant\n%s", got, c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	e := edit(func(e *Entry) { e.Agent, e.Target = "a\" \\ \n\x00\x7f\xffü漢", "/\"}\n{" })
	line := appendJSON(nil, e, new(spool.Stamp))
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	want := map[string]any{
		"time": "2026-11-25T18:19:29.042Z", "client": "192.0.2.1", "method": "GET", "host": "www.example", "target": "/\"}\n{", "status": 200.0, "bytes": 5.0,
		"fwd": "uri-miss", "reason": "not-held", "duration": 1.000021, "referer": "", "agent": "a\" \\ \n\x00\x7f\ufffdü漢",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant\n%v", got, want)
	}
}

// FuzzLine: no value can end its line, begin another or leave its quotes.
func FuzzLine(f *testing.F) {
	f.Add("1.2.3.4:5", "GET", "www.example", "/", "", "")
	f.Add("[::1]:5", "G\"T", "\r\n", "/\\\" 200", "\xff\xfe", "\u2028")
	f.Add("", "", "", "", "", strings.Repeat("\\", 5000))
	f.Fuzz(func(t *testing.T, client, method, host, target, referer, agent string) {
		e := &Entry{Time: entry.Time, Client: client, Method: method, Host: host, Target: target, Referer: referer, Agent: agent, Status: 200}
		line := appendJSON(nil, e, new(spool.Stamp))
		var v struct{ Client, Method, Host, Target, Referer, Agent string }
		if err := json.Unmarshal(line, &v); err != nil || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q: %v", line, err)
		}
		if len(agent) <= spool.MaxValue && utf8.ValidString(agent) && v.Agent != agent {
			t.Fatalf("agent %q became %q", agent, v.Agent)
		}
		line = appendCombined(nil, e, new(spool.Stamp))
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q", line)
		}
		quotes := 0
		for i := 0; i < len(line); i++ {
			switch line[i] {
			case '\\':
				i++
			case '"':
				quotes++
			default:
				if line[i] != '\n' && (line[i] < ' ' || line[i] > '~') {
					t.Fatalf("%q", line)
				}
			}
		}
		if quotes != 6 && !strings.Contains(client, `"`) {
			t.Fatalf("%d quotes in %q", quotes, line)
		}
	})
}

// What was added is in the file when Run has ended.
func TestWritten(t *testing.T) {
	for _, format := range []Format{Combined, JSON} {
		path := filepath.Join(t.TempDir(), "log")
		l, err := Open(Config{Path: path, Format: format, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			l.Add(i, &entry)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Run(ctx); err != nil || l.Dropped() != 0 {
			t.Fatal(err, l.Dropped())
		}
		b, err := os.ReadFile(path)
		want := appendCombined(nil, &entry, new(spool.Stamp))
		if format == JSON {
			want = appendJSON(nil, &entry, new(spool.Stamp))
		}
		if err != nil || !bytes.Equal(b, bytes.Repeat(want, 3)) {
			t.Errorf("%s: %q, %v", format, b, err)
		}
	}
}

func TestOpen(t *testing.T) {
	for name, cfg := range map[string]Config{
		"format": {Path: filepath.Join(t.TempDir(), "log"), Format: "apache"},
		"path":   {Path: filepath.Join(t.TempDir(), "none", "log")},
	} {
		if _, err := Open(cfg); err == nil || !strings.HasPrefix(err.Error(), "open access log: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var off *Log
	off.Add(0, &entry)
	if err := errors.Join(off.Run(t.Context()), off.Close()); err != nil || off.Dropped() != 0 {
		t.Error(err)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, format := range []Format{Combined, JSON} {
		b.Run(string(format), func(b *testing.B) {
			l, err := Open(Config{Path: "-", Format: format, Stdout: io.Discard, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- l.Run(ctx) }()
			e := entry
			e.Agent, e.Referer = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "https://www.example/page"
			b.ReportAllocs()
			for b.Loop() {
				l.Add(0, &e)
			}
			cancel()
			<-done
		})
	}
}
