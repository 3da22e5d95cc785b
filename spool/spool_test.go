package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// running is a queue to a file that is run until stop.
func running(t *testing.T, cfg FileConfig, buffers int) (q *Queue, f *File, stop func()) {
	t.Helper()
	cfg.Name, cfg.Log = "test log", slog.New(slog.DiscardHandler)
	f, err := OpenFile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	q = New(Config{Sink: f, Buffers: buffers, Clock: clock.System})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return q, f, stop
}

func add(q *Queue, i int, format string, args ...any) {
	s := q.Begin(i)
	s.B = fmt.Appendf(s.B, format+"\n", args...)
	q.End(s, 1)
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

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Every record of every caller arrives, whole and, from each, in order.
func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	q, _, stop := running(t, FileConfig{Path: path}, 3)
	const writers, each = 6, 2000
	padding := strings.Repeat("x", 100)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				add(q, w, "%d %d %s", w, i, padding)
			}
		})
	}
	wg.Wait()
	stop()
	var next [writers]int
	for _, line := range lines(t, path) {
		var w, i int
		var rest string
		if n, err := fmt.Sscan(line, &w, &i, &rest); n != 3 || rest != padding {
			t.Fatalf("%q: %v", line, err)
		}
		if i != next[w] {
			t.Fatalf("record %d of %d, want %d", i, w, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d records of %d", n, w)
		}
	}
	if q.Dropped() != 0 || q.Written() != writers*each {
		t.Errorf("%d dropped, %d written", q.Dropped(), q.Written())
	}
}

func TestFlushedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var out bytes.Buffer
		q, _, stop := running(t, FileConfig{Path: "-", Stdout: writerFunc(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return out.Write(b)
		})}, 0)
		written := func() string {
			mu.Lock()
			defer mu.Unlock()
			return out.String()
		}
		add(q, 0, "a")
		synctest.Wait()
		if written() != "" {
			t.Error("written before its time")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := written(); got != "a\n" {
			t.Errorf("%q", got)
		}
		add(q, 1, "b")
		stop() // the rest goes with the end
		if got := written(); got != "a\nb\n" {
			t.Errorf("%q", got)
		}
	})
}

func TestRotation(t *testing.T) {
	for _, keep := range []int{0, 1, 3} {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		f, err := OpenFile(FileConfig{Path: path, MaxSize: 1000, Keep: keep, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if !f.Write(t.Context(), fmt.Appendf(nil, "%d %s\n", 1000+i, strings.Repeat("x", 50))) {
				t.Fatal("not written")
			}
		}
		if err := f.Close(); err != nil {
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
				if !strings.HasPrefix(all[j], fmt.Sprint(want, " ")) {
					t.Fatalf("%s: %q, want %d", name, all[j], want)
				}
				want--
			}
		}
	}
}

// Files of a format with a head and a tail have both, once, however they came about.
func TestHeadAndTail(t *testing.T) {
	for _, keep := range []int{0, 9} {
		path := filepath.Join(t.TempDir(), "log")
		cfg := FileConfig{Path: path, Keep: keep, MaxSize: 20, Head: []byte("head\n"), Tail: []byte("tail\n"), Log: slog.New(slog.DiscardHandler)}
		for run := range 2 {
			f, err := OpenFile(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 { // one of them in a file of its own
				if !f.Write(t.Context(), fmt.Appendf(nil, "%d.%d\n", run, i)) {
					t.Fatal("not written")
				}
			}
			if run == 1 { // somebody takes the file away, and empties the next one
				if err := os.Rename(path, path+".taken"); err != nil {
					t.Fatal(err)
				}
				f.Tick(t.Context())
				f.Write(t.Context(), []byte("lost\n"))
				if err := os.Truncate(path, 0); err != nil {
					t.Fatal(err)
				}
				f.Tick(t.Context())
				f.Write(t.Context(), []byte("2.0\n"))
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]string{path: "head\n2.0\ntail\n", path + ".taken": "head\n1.2\ntail\n"}
		if keep > 0 {
			want[path+".1"] = "head\n1.0\n1.1\ntail\n"
			want[path+".2"] = "head\n0.2\ntail\n"
			want[path+".3"] = "head\n0.0\n0.1\ntail\n"
		}
		found, err := filepath.Glob(path + "*")
		if err != nil || len(found) != len(want) {
			t.Errorf("keep %d: %v, %v", keep, found, err)
		}
		for name, text := range want {
			if b, err := os.ReadFile(name); err != nil || string(b) != text {
				t.Errorf("keep %d: %s: %q, %v, want %q", keep, name, b, err, text)
			}
		}
	}
}

// logrotate moves the file and expects a new one.
func TestFollowsItsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log")
		q, _, stop := running(t, FileConfig{Path: path}, 0)
		second := func(n int) {
			add(q, 0, "%d", n)
			time.Sleep(time.Second)
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
		if got := lines(t, path+".old"); len(got) != 1 {
			t.Errorf("%q in the old file", got)
		}
		if got := lines(t, path); len(got) != 2 || got[0] != "3" {
			t.Errorf("%q", got)
		}
	})
}

// A writer that stands still, and one that fails, cost records and nothing else.
func TestSlowAndFullDisk(t *testing.T) {
	gate := make(chan struct{})
	q, _, stop := running(t, FileConfig{Path: "-", Stdout: writerFunc(func(b []byte) (int, error) { <-gate; return len(b), nil })}, 1)
	n := int64(0)
	for q.Dropped() == 0 { // returns although nothing is written
		add(q, 0, "%1000d", n)
		if n++; n > 1e6 {
			t.Fatal("where are they kept?")
		}
	}
	close(gate)
	stop()
	if q.Written()+q.Dropped() != n {
		t.Errorf("%d written, %d dropped of %d", q.Written(), q.Dropped(), n)
	}

	q, _, stop = running(t, FileConfig{Path: "/dev/full"}, 1)
	for range 10 {
		add(q, 0, "x")
	}
	stop()
	if q.Dropped() != 10 {
		t.Errorf("%d dropped of 10", q.Dropped())
	}

	failing, out := true, new(bytes.Buffer)
	f, err := OpenFile(FileConfig{Path: "-", Log: slog.New(slog.DiscardHandler), Stdout: writerFunc(func(b []byte) (int, error) {
		if failing {
			return 0, errors.New("full")
		}
		return out.Write(b)
	})})
	if err != nil {
		t.Fatal(err)
	}
	lost := f.Write(t.Context(), []byte("a\n"))
	failing = false
	if kept := f.Write(t.Context(), []byte("b\n")); lost || !kept || out.String() != "b\n" {
		t.Errorf("%v, %v, %q", lost, kept, out)
	}
}

func TestOff(t *testing.T) {
	var off *Queue
	if err := errors.Join(off.Run(t.Context()), off.Close()); err != nil || off.Dropped() != 0 || off.Written() != 0 {
		t.Error(err)
	}
	if _, err := OpenFile(FileConfig{Path: filepath.Join(t.TempDir(), "none", "log")}); err == nil {
		t.Error("a file in a directory that is not there was opened")
	}
}

// FuzzText: no value can end its line, begin another or leave its quotes.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "www", "a\" \\ \r\n\t\x00\x7f\xffü漢", "\u2028", strings.Repeat("\\", 5000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		var got string
		if err := json.Unmarshal(AppendString(nil, v), &got); err != nil {
			t.Fatal(err)
		}
		if len(v) <= MaxValue && utf8.ValidString(v) && got != v {
			t.Fatalf("%q became %q", v, got)
		}
		escaped := AppendEscaped(nil, v)
		for i := 0; i < len(escaped); i++ {
			switch c := escaped[i]; {
			case c == '\\':
				i++
			case c == '"', c < ' ', c > '~':
				t.Fatalf("%q", escaped)
			}
		}
	})
}
