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
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"perigee/clock"
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
		if got := string(appendCombined(nil, c.e, new(stamp))); got != c.want+"\n" {
			t.Errorf("%s\nwant\n%s", got, c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	e := edit(func(e *Entry) { e.Agent, e.Target = "a\" \\ \n\x00\x7f\xffü漢", "/\"}\n{" })
	line := appendJSON(nil, e, new(stamp))
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
		line := appendJSON(nil, e, new(stamp))
		var v struct{ Client, Method, Host, Target, Referer, Agent string }
		if err := json.Unmarshal(line, &v); err != nil || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q: %v", line, err)
		}
		if len(agent) <= maxValue && utf8.ValidString(agent) && v.Agent != agent {
			t.Fatalf("agent %q became %q", agent, v.Agent)
		}
		line = appendCombined(nil, e, new(stamp))
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

// running is a log that is run until stop.
func running(t *testing.T, cfg Config) (l *Log, stop func()) {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		t.Errorf("%s ends within a line", path)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// Every line of every caller arrives, whole and, from each, in order.
func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, stop := running(t, Config{Path: path, Format: JSON, Buffers: 3})
	const writers, each = 6, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				l.Add(w, edit(func(e *Entry) { e.Status, e.Bytes = w, int64(i) }))
			}
		})
	}
	wg.Wait()
	stop()
	var next [writers]int64
	for _, line := range lines(t, path) {
		var v struct{ Status, Bytes int64 }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if v.Bytes != next[v.Status] {
			t.Fatalf("line %d of %d follows %d", v.Bytes, v.Status, next[v.Status]-1)
		}
		next[v.Status]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d lines of %d", n, w)
		}
	}
	if l.Dropped() != 0 {
		t.Errorf("%d dropped", l.Dropped())
	}
}

func TestFlushedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var out bytes.Buffer
		l, stop := running(t, Config{Path: "-", Stdout: writerFunc(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return out.Write(b)
		})})
		written := func() string {
			mu.Lock()
			defer mu.Unlock()
			return out.String()
		}
		l.Add(0, &entry)
		synctest.Wait()
		if written() != "" {
			t.Error("written before its time")
		}
		time.Sleep(flushEvery)
		synctest.Wait()
		if got := written(); strings.Count(got, "\n") != 1 {
			t.Errorf("%q", got)
		}
		l.Add(1, &entry)
		stop() // the rest goes with the end
		if got := written(); strings.Count(got, "\n") != 2 {
			t.Errorf("%q", got)
		}
	})
}

func TestRotation(t *testing.T) {
	for _, keep := range []int{0, 1, 3} {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		l, stop := running(t, Config{Path: path, MaxSize: 1000, Keep: keep, Buffers: 1})
		stop()
		l.out.open()
		for i := range 100 {
			l.Add(0, edit(func(e *Entry) { e.Status = 1000 + i }))
			l.flush()
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(path + "*")
		if err != nil || len(found) != keep+1 {
			t.Fatalf("%v, %v", found, err)
		}
		want := 1099
		for i := range keep + 1 {
			name := path
			if i > 0 {
				name = fmt.Sprintf("%s.%d", path, i)
			}
			if st, err := os.Stat(name); err != nil || st.Size() > 1000 || st.Size() == 0 {
				t.Fatalf("%v, %v", st, err)
			}
			all := lines(t, name)
			for j := len(all) - 1; j >= 0; j-- {
				if !strings.Contains(all[j], fmt.Sprintf(" %d ", want)) {
					t.Fatalf("%s: %q, want %d", name, all[j], want)
				}
				want--
			}
		}
		if l.Dropped() != 0 {
			t.Errorf("%d dropped", l.Dropped())
		}
	}
}

// logrotate moves the file and expects a new one.
func TestFollowsItsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log")
		l, stop := running(t, Config{Path: path})
		second := func(status int) {
			l.Add(0, edit(func(e *Entry) { e.Status = status }))
			time.Sleep(flushEvery)
			synctest.Wait()
		}
		second(1)
		if err := os.Rename(path, path+".old"); err != nil {
			t.Fatal(err)
		}
		second(2)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		second(3)
		second(4)
		stop()
		if got := len(lines(t, path+".old")); got != 1 {
			t.Errorf("%d lines in the old file", got)
		}
		if got := lines(t, path); len(got) != 2 || !strings.Contains(got[0], " 3 ") {
			t.Errorf("%q", got)
		}
	})
}

// A writer that stands still, and one that fails, cost lines and nothing else.
func TestSlowAndFullDisk(t *testing.T) {
	gate := make(chan struct{})
	l, stop := running(t, Config{Path: "-", Stdout: writerFunc(func(b []byte) (int, error) { <-gate; return len(b), nil }), Buffers: 1})
	n := int64(0)
	for l.Dropped() == 0 { // returns although nothing is written
		l.Add(0, &entry)
		if n++; n > 1e6 {
			t.Fatal("where are they kept?")
		}
	}
	close(gate)
	stop()

	l, stop = running(t, Config{Path: "/dev/full", Buffers: 1})
	for range 10 {
		l.Add(0, &entry)
	}
	stop()
	if l.Dropped() != 10 {
		t.Errorf("%d dropped of 10", l.Dropped())
	}

	// A disk that takes half a line leaves none of it.
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	failing := true
	l, stop = running(t, Config{Path: "-", Stdout: writerFunc(func(b []byte) (int, error) {
		if failing {
			return 0, errors.New("full")
		}
		return f.Write(b)
	}), Buffers: 1})
	stop()
	l.Add(0, &entry)
	l.flush()
	failing = false
	l.Add(0, &entry)
	l.flush()
	if got := lines(t, f.Name()); l.Dropped() != 1 || len(got) != 1 {
		t.Errorf("%d dropped, %d lines", l.Dropped(), len(got))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

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
