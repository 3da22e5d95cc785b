package main

import (
	"bytes"
	"strings"
	"testing"
)

// Streams as go test -json of Go 1.26 writes them, cut to what matters.
const (
	passing = `{"Action":"start","Package":"perigee/object"}
{"Action":"run","Package":"perigee/object","Test":"TestKey"}
{"Action":"output","Package":"perigee/object","Test":"TestKey","Output":"=== RUN   TestKey\n"}
{"Action":"output","Package":"perigee/object","Test":"TestKey","Output":"    key_test.go:5: chatter\n"}
{"Action":"pass","Package":"perigee/object","Test":"TestKey","Elapsed":0.1}
{"Action":"pass","Package":"perigee/object","Elapsed":1.24}
`
	failing = `{"Action":"output","Package":"perigee/edge","Test":"TestGet","Output":"=== RUN   TestGet\n"}
{"Action":"output","Package":"perigee/edge","Test":"TestGet","Output":"    get_test.go:9: status 500, want 200\n"}
{"Action":"output","Package":"perigee/edge","Test":"TestGet","Output":"--- FAIL: TestGet (0.00s)\n"}
{"Action":"fail","Package":"perigee/edge","Test":"TestGet"}
{"Action":"fail","Package":"perigee/edge","Elapsed":0.2}
`
	skipping = `{"Action":"output","Package":"perigee/web","Test":"TestPage","Output":"=== RUN   TestPage\n"}
{"Action":"output","Package":"perigee/web","Test":"TestPage","Output":"    page_test.go:12: chromium is not installed\n"}
{"Action":"output","Package":"perigee/web","Test":"TestPage","Output":"--- SKIP: TestPage (0.00s)\n"}
{"Action":"skip","Package":"perigee/web","Test":"TestPage"}
{"Action":"pass","Package":"perigee/web","Elapsed":0.2}
`
	unbuilt = `{"ImportPath":"perigee/keys [perigee/keys.test]","Action":"build-output","Output":"keys/ring.go:3:1: undefined: x\n"}
{"ImportPath":"perigee/keys [perigee/keys.test]","Action":"build-fail"}
{"Action":"output","Package":"perigee/keys","Output":"FAIL\tperigee/keys [build failed]\n"}
{"Action":"fail","Package":"perigee/keys","Elapsed":0,"FailedBuild":"perigee/keys [perigee/keys.test]"}
`
	crashed = `{"Action":"output","Package":"perigee/bus","Test":"TestLog","Output":"panic: test timed out after 1s\n"}
{"Action":"fail","Package":"perigee/bus","Elapsed":1}
`
	empty = `{"Action":"output","Package":"perigee/cmd","Output":"?   \tperigee/cmd\t[no test files]\n"}
{"Action":"skip","Package":"perigee/cmd","Elapsed":0}
`
)

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name, events string
		strict       bool
		skips        string
		ok           bool
		want         []string
		not          string
	}{
		{name: "pass", events: passing + empty, ok: true,
			want: []string{"ok    perigee/object 1.2s", "1 passed, 0 failed, 0 skipped"}, not: "chatter"},
		{name: "fail", events: passing + failing,
			want: []string{"FAIL  perigee/edge TestGet", "status 500, want 200", "1 passed, 1 failed, 0 skipped"}, not: "---"},
		{name: "skip at home", events: skipping, ok: true,
			want: []string{"skipped perigee/web TestPage: chromium is not installed\n", "0 passed, 0 failed, 1 skipped"}},
		{name: "skip in CI", events: skipping, strict: true,
			want: []string{"TestPage: chromium is not installed (a failure in CI"}},
		{name: "listed skip in CI", events: skipping, strict: true, skips: "# known\n\nperigee/web TestPage no browser there\n", ok: true,
			want: []string{"1 skipped"}},
		{name: "another skip listed", events: skipping, strict: true, skips: "perigee/web TestOther no browser there\n",
			want: []string{"a failure in CI"}},
		{name: "does not build", events: passing + unbuilt,
			want: []string{"FAIL  perigee/keys", "undefined: x", "failed perigee/keys: as a whole", "1 passed, 1 failed"}},
		{name: "crash", events: crashed, want: []string{"test timed out", "0 passed, 1 failed"}},
		{name: "text between events", events: "go: no such module\n" + passing, ok: true, want: []string{"go: no such module\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out)
			r.strict = c.strict
			allowed, err := readSkips(strings.NewReader(c.skips))
			if err != nil {
				t.Fatal(err)
			}
			r.allowed = allowed
			if err := r.read(strings.NewReader(c.events)); err != nil {
				t.Fatal(err)
			}
			if ok := r.summary(); ok != c.ok {
				t.Errorf("ok = %v, want %v", ok, c.ok)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, &out)
				}
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("%q in:\n%s", c.not, &out)
			}
		})
	}
}

func TestSkipWithoutReasonIsRefused(t *testing.T) {
	if _, err := readSkips(strings.NewReader("perigee/web TestPage\n")); err == nil {
		t.Error("a listed skip needs a reason")
	}
}
