package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/clock"
	"perigee/config"
	"perigee/keys"
)

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := perigee(t, nil, "keys", "--data", dir).want(t, 0)
	if !strings.Contains(r.errOut, "no key") || r.out != "" {
		t.Error(r.out, r.errOut)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("listing made the data directory")
	}
	r = perigee(t, nil, "keys", "create", "--data", dir, "--name", "deploy bot", "--scope", "publish,purge", "--expires", "720h").want(t, 0)
	key := strings.TrimSpace(r.out)
	ring, err := keys.Open(keys.Config{File: filepath.Join(dir, "keys.json")})
	if err != nil {
		t.Fatal(err)
	}
	id, err := ring.Check(key)
	if err != nil || !id.May(keys.ScopePurge) || id.May(keys.ScopeAdmin) || strings.Contains(r.errOut, key) {
		t.Fatalf("%+v %v", id, err)
	}
	r = perigee(t, nil, "keys", "list", "--data", dir).want(t, 0)
	if !strings.Contains(r.out, "deploy bot") || !strings.Contains(r.out, "publish,purge") || strings.Contains(r.out, key[14:]) {
		t.Error(r.out)
	}
	r = perigee(t, nil, "keys", "create", "--json", "--data", dir, "--name", "second").want(t, 0)
	second := jsonLines[keyView](t, r.out)[0]
	if second.Key == "" || !slices.Equal(second.Scopes, []keys.Scope{keys.ScopeRead}) {
		t.Errorf("%+v", second)
	}
	r = perigee(t, nil, "keys", "revoke", "--data", dir, id.ID).want(t, 0)
	if strings.Contains(r.errOut, "last key") {
		t.Error(r.errOut)
	}
	r = perigee(t, nil, "keys", "revoke", "--data", dir, second.ID).want(t, 0)
	if !strings.Contains(r.errOut, "last key") {
		t.Error(r.errOut)
	}
	perigee(t, nil, "keys", "revoke", "--data", dir, second.ID).want(t, 1)
	perigee(t, nil, "keys", "create", "--data", dir, "--name", "x", "--scope", "root").want(t, 1)
	perigee(t, nil, "keys", "create", "--data", dir, "--name", "x", "--expires=-1h").want(t, 1)
	perigee(t, nil, "keys", "create", "--data", dir).want(t, 2)
}

func TestConfigCommands(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "perigee.yaml")
	writeFile(t, file, "api:\n  listn: 127.0.0.1:1\ndns: {ttl: soon}\n")
	r := perigee(t, nil, "config", "check", "-c", file).want(t, 1)
	want := file + `:2: api.listn: unknown key; did you mean "listen"?` + "\n" +
		file + `:3: dns.ttl: "soon" is no duration; write a number with a unit, such as 500ms, 20s or 12h` + "\n"
	if r.errOut != want {
		t.Errorf("%s\nwant %s", r.errOut, want)
	}
	r = perigee(t, []string{"PERIGEE_CONFIG=" + file}, "config", "check", "--json").want(t, 1)
	var got struct {
		OK       bool
		Mistakes []struct{ Where, Key, Problem string }
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.OK || len(got.Mistakes) != 2 || got.Mistakes[0].Key != "api.listn" || r.errOut != "" {
		t.Errorf("%s %s %v", r.out, r.errOut, err)
	}

	writeFile(t, file, "api: {listen: 0.0.0.0:8080}\n")
	r = perigee(t, nil, "config", "check", "-c", file, "--data", dir).want(t, 1)
	if !strings.Contains(r.errOut, file+":1: api.listen") || !strings.Contains(r.errOut, "perigee keys create") {
		t.Error(r.errOut)
	}
	perigee(t, nil, "keys", "create", "-c", file, "--data", dir, "--name", "me", "--scope", "admin").want(t, 0)
	perigee(t, nil, "config", "check", "-c", file, "--data", dir).want(t, 0)
	perigee(t, nil, "config", "check", "-c", filepath.Join(dir, "none.yaml")).want(t, 1)

	token := strings.Repeat("topsecret", 3)
	env := []string{"PERIGEE_ADMIN_TOKEN=" + token}
	for _, args := range [][]string{{"config", "show"}, {"config", "show", "--origins"}, {"config", "show", "--json"}} {
		r = perigee(t, env, append(args, "-c", file, "--set", "dns.ttl=7s")...).want(t, 0)
		if strings.Contains(r.out, token) || !strings.Contains(r.out, "7s") || !strings.Contains(r.out, "********") {
			t.Errorf("%v: %s", args, r.out)
		}
	}
	if r = perigee(t, nil, "config", "default").want(t, 0); r.out != config.DefaultYAML {
		t.Error("not the default")
	}
	writeFile(t, file, r.out)
	perigee(t, nil, "config", "check", "-c", file, "--data", dir).want(t, 0)
}

func TestConfigCheckCountsTheSecretsOfTheDataDirectory(t *testing.T) {
	dir := t.TempDir()
	args := []string{"config", "check", "--data", dir, "--set", "bus.listen=0.0.0.0:4222"}
	perigee(t, nil, args...).want(t, 1)
	if _, err := os.Stat(filepath.Join(dir, "secrets.json")); err == nil {
		t.Error("a check made secrets")
	}
	if _, err := config.Secrets(dir); err != nil {
		t.Fatal(err)
	}
	perigee(t, nil, args...).want(t, 0)
}

func TestGeo(t *testing.T) {
	out := filepath.Join(t.TempDir(), "table.bin")
	build := []string{"geo", "build", "--out", out, "--source", "two cities", "--licence", "CC0-1.0", "--attribution", "nobody"}
	perigee(t, nil, append(build, filepath.Join(t.TempDir(), "none.mmdb"))...).want(t, 1)
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed build left a file")
	}
	perigee(t, nil, append(build, "testdata/tiny.mmdb")...).want(t, 0)
	if entries, _ := os.ReadDir(filepath.Dir(out)); len(entries) != 1 {
		t.Error(entries)
	}
	r := perigee(t, nil, "geo", "info", "--geo", out).want(t, 0)
	for _, want := range []string{"two cities", "2023-11-14", "CC0-1.0", "nobody"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in %s", want, r.out)
		}
	}
	answers := jsonLines[geoAnswer](t, perigee(t, []string{"PERIGEE_DNS_GEO=" + out}, "geo", "lookup", "--json", "203.0.113.9", "198.51.100.1", "192.0.2.1").want(t, 0).out)
	if len(answers) != 3 || answers[0].Country != "DE" || answers[1].Country != "JP" || answers[2].Known {
		t.Errorf("%+v", answers)
	}
	r = perigee(t, nil, "geo", "lookup", "81.2.69.144").want(t, 0)
	if !strings.Contains(r.out, "GB") {
		t.Error(r.out)
	}
	perigee(t, nil, "geo", "lookup", "nowhere").want(t, 1)
	r = perigee(t, nil, "geo", "info", "--geo", "/none.mmdb").want(t, 1)
	if !strings.Contains(r.errOut, "inside the binary") {
		t.Error(r.errOut)
	}
}

func TestHealth(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz":
			io.WriteString(w, "ok\n")
		case r.Header.Get("Authorization") != "Bearer 0123456789abcdef":
			http.Error(w, "send admin.token", http.StatusUnauthorized)
		default:
			http.Error(w, "not ready: no bus", http.StatusServiceUnavailable)
		}
	}))
	defer h.Close()
	if r := perigee(t, nil, "health", h.URL+"/healthz").want(t, 0); r.out != "ok\n" {
		t.Error(r.out)
	}
	perigee(t, nil, "health", h.URL+"/readyz").want(t, 1)
	if r := perigee(t, []string{"PERIGEE_ADMIN_TOKEN=0123456789abcdef"}, "health", h.URL+"/readyz").want(t, 1); r.out != "not ready: no bus\n" {
		t.Error(r.out)
	}
	h.Close()
	perigee(t, nil, "health", h.URL+"/healthz").want(t, 1)
}

func TestHumanNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 1234: "1.23 kB", 9994: "9.99 kB", 9996: "10.0 kB", 99_960: "100 kB", 999_400: "999 kB", 999_600: "1.00 MB", 5e9: "5.00 GB", 123e12: "123 TB", 4e18: "4000 PB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// frozen is a clock that stands.
type frozen struct {
	clock.Clock
	at time.Time
}

func (f frozen) Now() time.Time { return f.at }

func TestProgressText(t *testing.T) {
	begun := time.Unix(1e9, 0)
	p := &progress{totalFiles: 1200, files: 300, totalBytes: 4e6, bytes: 1e6, begun: begun, clock: frozen{clock.System, begun.Add(10 * time.Second)}}
	want := "[=======                       ]  25%  300/1,200 files  1.00 MB/4.00 MB  100 kB/s  30s left"
	if got := p.text(100); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	for width := range 100 {
		if got := p.text(width); len(got) > width {
			t.Errorf("%d columns in %d: %q", len(got), width, got)
		}
	}
	for _, odd := range []*progress{{}, {totalFiles: 3}, {totalBytes: 5, bytes: 50}, {totalBytes: 5, bytes: -5}} {
		odd.clock, odd.begun = frozen{clock.System, begun.Add(time.Hour)}, begun
		odd.text(80)
	}
}
