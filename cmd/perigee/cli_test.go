package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/client"
	"perigee/client/clienttest"
	"perigee/fleet"
)

// result is what one run of the program left.
type result struct {
	code   int
	out    string
	errOut string
}

// perigee runs the program as main would, in an environment of its own.
func perigee(t *testing.T, env []string, args ...string) result {
	t.Helper()
	return perigeeIn(t, t.Context(), env, "", args...)
}

func perigeeIn(t *testing.T, ctx context.Context, env []string, stdin string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(ctx, args, env, strings.NewReader(stdin), &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// want fails the test unless the run ended so.
func (r result) want(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit status %d, want %d\n%s%s", r.code, code, r.out, r.errOut)
	}
	return r
}

// contact returns the environment that leads to s.
func contact(s *clienttest.Server) []string { return []string{"PERIGEE_URL=" + s.URL} }

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func jsonLines[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var v T
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		all = append(all, v)
	}
	return all
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 0, "Usage: perigee"},
		{[]string{"--help"}, 0, "Usage: perigee"},
		{[]string{"put", "--help"}, 0, "SITE:/path"},
		{[]string{"fleet", "drain", "--help"}, 0, "take no new clients"},
		{[]string{"version"}, 0, "perigee "},
		{[]string{"version", "--json"}, 0, `"version"`},
		{[]string{"--json", "version"}, 0, `"version"`},
		{[]string{"putt"}, 2, `did you mean "put"`},
		{[]string{"put"}, 2, "<source>"},
		{[]string{"put", "x", "--jbos", "3"}, 2, "unknown flag --jbos"},
		{[]string{"put", "x", "-j", "many"}, 2, "--jobs"},
		{[]string{"fleet", "drain"}, 2, "<node>"},
	} {
		r := perigee(t, nil, tc.args...).want(t, tc.code)
		if !strings.Contains(r.out+r.errOut, tc.want) {
			t.Errorf("%q: %s%s", tc.args, r.out, r.errOut)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, c := range []string{"up", "upload", "edge", "dns", "bus", "storage", "put", "ls", "rm", "purge", "explain", "fleet", "keys", "geo", "config", "doctor", "health", "version"} {
		r := perigee(t, nil, c, "--help").want(t, 0)
		if !strings.Contains(r.out, "--json") {
			t.Errorf("%s: %s", c, r.out)
		}
	}
}

func TestErrorsAreToldOnceAndAsJSONWhenAsked(t *testing.T) {
	s := clienttest.New(t)
	s.Key = "pk_0123456789_abc"
	r := perigee(t, contact(s), "fleet").want(t, 1)
	if r.out != "" || !strings.HasPrefix(r.errOut, "perigee: ") || strings.Count(r.errOut, "\n") != 1 || !strings.Contains(r.errOut, "send an API key") {
		t.Errorf("%q", r.errOut)
	}
	r = perigee(t, contact(s), "fleet", "--json").want(t, 1)
	var e struct {
		Error   string
		Problem client.Problem
	}
	if err := json.Unmarshal([]byte(r.errOut), &e); err != nil || e.Problem.Status != 401 || r.out != "" {
		t.Errorf("%s %v", r.errOut, err)
	}
}

func TestKeyComesFromFlagOrEnvironment(t *testing.T) {
	s := clienttest.New(t)
	s.Key = "pk_0123456789_abc"
	file := filepath.Join(t.TempDir(), "key")
	writeFile(t, file, s.Key+"\n")
	wrong := filepath.Join(t.TempDir(), "wrong")
	writeFile(t, wrong, "pk_x\n")
	perigee(t, append(contact(s), "PERIGEE_KEY="+s.Key), "fleet").want(t, 0)
	perigee(t, append(contact(s), "PERIGEE_KEY_FILE="+file), "fleet").want(t, 0)
	perigee(t, append(contact(s), "PERIGEE_KEY=pk_x"), "fleet", "--key-file", file).want(t, 0)
	perigee(t, append(contact(s), "PERIGEE_KEY="+s.Key), "fleet", "--key-file", wrong).want(t, 1)
	perigee(t, []string{"PERIGEE_URL=http://127.0.0.1:1"}, "fleet", "--url", s.URL, "--key-file", file).want(t, 0)
	perigee(t, contact(s), "fleet", "--key-file", filepath.Join(t.TempDir(), "none")).want(t, 1)
}

func TestInterruptedRunsSaySo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := perigeeIn(t, ctx, nil, "", "fleet").want(t, 130)
	if r.errOut != "perigee: interrupted\n" {
		t.Errorf("%q", r.errOut)
	}
}

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]string{
		"www:/a/b": "www:/a/b", "docs:": "docs:/", "docs:a b": "docs:/a b", "/x:y": "www:/x:y", "www:/a:b": "www:/a:b", "s:/d/": "s:/d/",
	} {
		if got, err := parseTarget(s); err != nil || got.String() != want {
			t.Errorf("%q is %s, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "plain", "http://x/y", "WWW:/a", ":/a", "a b:/c"} {
		if got, err := parseTarget(bad); err == nil {
			t.Errorf("%q is %s", bad, got)
		}
	}
}

func TestFleet(t *testing.T) {
	s := clienttest.New(t)
	node := func(name string, st fleet.State, down bool) client.Node {
		return client.Node{Node: fleet.Node{Report: fleet.Report{Format: 1, Node: name, Role: fleet.RoleEdge, State: st, Lease: 29_900,
			Place: fleet.Place{Name: "Frankfurt", Country: "DE"}, Cache: &fleet.CacheUse{Bytes: 5e6, Limit: 1e10, Hits: 9, Misses: 1}}, Down: down, Heard: time.Now()}}
	}
	s.Nodes = []client.Node{node("fra", fleet.Ready, false), node("nyc", fleet.Ready, true)}
	r := perigee(t, contact(s), "fleet").want(t, 0)
	for _, want := range []string{"NODE", "fra", "Frankfurt, DE", "90.0%", "5.00 MB of 10.0 GB", "29.9s", "down (was ready)"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	perigee(t, contact(s), "fleet", "drain", "fra").want(t, 0)
	f := jsonLines[client.Fleet](t, perigee(t, contact(s), "fleet", "list", "--json").want(t, 0).out)
	if len(f) != 1 || f[0].Nodes[0].State != fleet.Draining {
		t.Errorf("%+v", f)
	}
	perigee(t, contact(s), "fleet", "undrain", "fra").want(t, 0)
	if s.Nodes[0].State != fleet.Ready {
		t.Error("still draining")
	}
	r = perigee(t, contact(s), "fleet", "drain", "moon").want(t, 1)
	if !strings.Contains(r.errOut, "moon") {
		t.Error(r.errOut)
	}
}

func TestExplain(t *testing.T) {
	s := clienttest.New(t)
	r := perigee(t, contact(s), "explain", "www:/a b", "--ip", "81.2.69.144").want(t, 0)
	for _, want := range []string{"www:/a b", "London, GB", "* fra", "637 km", "draining", "A 127.0.1.1, 20 s, for 81.2.69.0/24", "hit at fra", "in its memory"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	for arg, want := range map[string]string{
		"http://docs.example.org:8100/x%20y?q=1": "docs:/x y", "www:/dir/": "www:/dir/index.html", "http://www.perigee.test:8100/": "www:/index.html",
	} {
		e := jsonLines[client.Explanation](t, perigee(t, contact(s), "explain", "--json", arg).want(t, 0).out)
		if got := string(e[0].Site) + ":" + string(e[0].Path); got != want {
			t.Errorf("%s is %s, want %s", arg, got, want)
		}
	}
	r = perigee(t, contact(s), "explain", "--drain", "fra", "--add", "tyo@35.6,139.7").want(t, 0)
	for _, want := range []string{"fra -> nyc", "25.00 %", "moves", "40.00 %"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	if r := perigee(t, contact(s), "explain", "--drain", "moon").want(t, 1); !strings.Contains(r.errOut, "moon") {
		t.Error(r.errOut)
	}
	perigee(t, contact(s), "explain").want(t, 1)
	perigee(t, contact(s), "explain", "--drain", "fra", "www:/a").want(t, 1)
	perigee(t, contact(s), "explain", "http://unknown.test/").want(t, 1)
	perigee(t, contact(s), "explain", "www:/a", "--ip", "nowhere").want(t, 1)
}

func TestPurge(t *testing.T) {
	t.Run("what is named goes to its site", func(t *testing.T) {
		s := clienttest.New(t)
		perigee(t, contact(s), "purge", "www:/a b", "http://docs.perigee.test:8100/x%20y", "--prefix", "docs:/img", "--tag", "t1", "--tag", "t2", "--site", "www", "--soft").want(t, 0)
		got, err := json.Marshal(s.Orders())
		want := `{"docs":{"urls":["/x%20y"],"prefixes":["/img/"],"soft":true},"www":{"urls":["/a%20b"],"tags":["t1","t2"],"soft":true}}`
		if err != nil || string(got) != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
	t.Run("waiting shows each edge", func(t *testing.T) {
		s := clienttest.New(t)
		s.Lagging = 3
		r := perigee(t, contact(s), "purge", "--wait", "www:/a").want(t, 0)
		for _, want := range []string{"effective on 3 of 3 edges after 10.5 ms", "fra", "3.5 ms", "sin"} {
			if !strings.Contains(r.out, want) {
				t.Errorf("no %q in\n%s", want, r.out)
			}
		}
	})
	t.Run("an edge that does not follow is a failure", func(t *testing.T) {
		s := clienttest.New(t)
		s.Lagging = 1 << 30
		r := perigee(t, contact(s), "purge", "--wait", "--timeout", "1ms", "--all", "--site", "www").want(t, 1)
		if !strings.Contains(r.out, "effective on 2 of 3 edges\n") || !strings.Contains(r.out, "pending") {
			t.Error(r.out)
		}
		if o := s.Orders()["www"]; !o.All {
			t.Errorf("%+v", o)
		}
	})
	t.Run("status", func(t *testing.T) {
		s := clienttest.New(t)
		id := jsonLines[purgeAnswer](t, perigee(t, contact(s), "purge", "--json", "www:/a").want(t, 0).out)[0].ID
		p := jsonLines[purgeAnswer](t, perigee(t, contact(s), "purge", "--json", "--status", id).want(t, 0).out)
		if len(p) != 1 || !p[0].Effective || len(p[0].Edges) != 3 || *p[0].Edges[2].MS != 10.5 {
			t.Errorf("%+v", p)
		}
	})
	t.Run("careless orders are refused", func(t *testing.T) {
		s := clienttest.New(t)
		for _, args := range [][]string{nil, {"--all"}, {"--tag", "x"}, {"http://nobody.test/a"}, {"www:/../a"}} {
			perigee(t, contact(s), append([]string{"purge"}, args...)...).want(t, 1)
		}
		if len(s.Orders()) != 0 {
			t.Error(s.Orders())
		}
	})
}

func TestReportOfAFailureInsideAnother(t *testing.T) {
	var out bytes.Buffer
	a := &app{ctx: t.Context(), stderr: &out}
	if code := a.report(errors.Join(nil, failed(3))); code != 3 || out.Len() != 0 {
		t.Error(code, out.String())
	}
}
