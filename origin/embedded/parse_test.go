package embedded

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
)

func TestLineWriter(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(s string) { got = append(got, s) }}
	for _, s := range []string{"one\ntw", "o\n", "\n", "thr", "ee"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := "one|two|"; strings.Join(got, "|") != want {
		t.Fatalf("lines %q", got)
	}
	got = nil
	w.Write(bytes.Repeat([]byte("x"), 2*maxLine))
	if len(got) != 1 || len(w.rest) != 0 {
		t.Fatalf("an endless line is kept: %d lines, %d bytes", len(got), len(w.rest))
	}
}

func TestRelay(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	var child bytes.Buffer
	from := slog.New(slog.NewJSONHandler(&child, nil))
	from.Warn("hello", "n", 5, "a", "x y")
	for _, c := range []struct{ line, want string }{
		{strings.TrimSpace(child.String()), "level=WARN msg=hello a=\"x y\" n=5\n"},
		{`{"level":"DEBUG","msg":"quiet"}`, ""},
		{"panic: help", "level=ERROR msg=\"storage process\" text=\"panic: help\"\n"},
		{`{"some":"json"}`, "level=ERROR msg=\"storage process\" text=\"{\\\"some\\\":\\\"json\\\"}\"\n"},
		{"", ""},
	} {
		out.Reset()
		relay(log, c.line)
		if got := out.String(); got != c.want {
			t.Errorf("%s became\n%s, want\n%s", c.line, got, c.want)
		}
	}
}

// TestRelayKeepsRecords runs slog's own suite through both ends.
func TestRelayKeepsRecords(t *testing.T) {
	var out bytes.Buffer
	var last map[string]any
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return slog.NewJSONHandler(&out, nil)
	}, func(*testing.T) map[string]any {
		level, msg, attrs, ok := parseRecord(out.Bytes())
		if !ok {
			return nil
		}
		last = map[string]any{slog.LevelKey: level, slog.MessageKey: msg}
		if bytes.Contains(out.Bytes(), []byte(`"time":`)) {
			last[slog.TimeKey] = "there"
		}
		for _, a := range attrs {
			last[a.Key] = a.Value.Any()
		}
		return last
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"m","a":1,"g":{"b":[null]}}`))
	f.Add([]byte(`{"level":"INFO+4","msg":""}`))
	f.Add([]byte("panic: x"))
	f.Fuzz(func(t *testing.T, line []byte) {
		_, _, attrs, ok := parseRecord(line)
		if !ok && attrs != nil {
			t.Fatal("attributes of no record")
		}
		for _, a := range attrs {
			if a.Key == slog.LevelKey || a.Key == slog.MessageKey || a.Key == slog.TimeKey {
				t.Fatalf("attribute %s", a.Key)
			}
		}
	})
}

func TestParseAnnouncement(t *testing.T) {
	for _, c := range []struct {
		line, addr, err string
		ok              bool
	}{
		{"ready 127.0.0.1:9000", "127.0.0.1:9000", "", true},
		{"ready [::1]:9000", "[::1]:9000", "", true},
		{"ready", "", "", false},
		{"ready somewhere", "", "it announced", true},
		{"failed listen on x: taken", "", "listen on x: taken", true},
		{"Using sidecar directory", "", "", false},
	} {
		a, ok := parseAnnouncement(c.line)
		if ok != c.ok || a.addr != c.addr || (a.err != nil) != (c.err != "") || a.err != nil && !strings.Contains(a.err.Error(), c.err) {
			t.Errorf("%q: %+v, %v", c.line, a, ok)
		}
	}
}

func FuzzParseAnnouncement(f *testing.F) {
	f.Add("ready 127.0.0.1:9000")
	f.Add("failed because")
	f.Add("ready ")
	f.Fuzz(func(t *testing.T, line string) {
		if a, ok := parseAnnouncement(line); ok == (a.addr == "" && a.err == nil) {
			t.Fatalf("%q: %+v, %v", line, a, ok)
		}
	})
}

func FuzzReadFormat(f *testing.F) {
	f.Add([]byte(`{"format":1,"metadata":"xattr"}`))
	f.Add([]byte(`{"format":1,"metadata":"sidecar"}`))
	f.Add([]byte(`{"format":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := readFormat(b); err == nil && (v.Format != 1 || v.Metadata != inXattr && v.Metadata != inSidecar) {
			t.Fatalf("%s was read as %+v", b, v)
		}
	})
}

func TestLeftover(t *testing.T) {
	for _, c := range []struct {
		key  string
		want bool
	}{
		{"p/a/.x.sgwtmp.1700000000000000000", true},
		{".x.sgwtmp.1", true},
		{"p/a/x.sgwtmp.1", false},
		{"p/a/.x.sgwtmp.", false},
		{"p/a/.x.sgwtmp.-5", false},
		{"p/a/.x", false},
		{"p/.x.sgwtmp.1/y", false},
	} {
		if _, got := leftover(c.key); got != c.want {
			t.Errorf("%s: %v", c.key, got)
		}
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	good := Config{Root: "/data", Listen: "127.0.0.1:9000", Bucket: "perigee", RootAccess: "root", RootSecret: "0123456789abcdef"}
	if _, err := good.completed(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Root = "" }, "storage directory"},
		{func(c *Config) { c.Listen = "9000" }, "write host:port"},
		{func(c *Config) { c.Bucket = "No_Bucket" }, "bucket name"},
		{func(c *Config) { c.RootAccess = "" }, "3 to 128 characters"},
		{func(c *Config) { c.RootAccess = "a/b/c" }, "letters, digits"},
		{func(c *Config) { c.RootSecret = "short" }, "at least 16"},
		{func(c *Config) { c.EdgeSecret = "0123456789abcdef" }, "3 to 128"},
		{func(c *Config) { c.EdgeAccess, c.EdgeSecret = "root", "0123456789abcdef" }, "the same access key"},
	} {
		bad := good
		c.change(&bad)
		if _, err := bad.completed(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}
