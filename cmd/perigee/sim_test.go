package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perigee/edge/cache/sim"
)

func TestSim(t *testing.T) {
	dir := t.TempDir()
	trace, plot := filepath.Join(dir, "trace"), filepath.Join(dir, "plot.svg")
	perigee(t, nil, "sim", "--generate", "seed=1,requests=20000,objects=2000,onehit=0.3", "--trace", trace).want(t, 0)
	r := perigee(t, nil, "sim", "--trace", trace, "--size", "16M").want(t, 0)
	for _, p := range sim.Names() {
		if !strings.Contains(r.out, p) {
			t.Errorf("no %s in\n%s", p, r.out)
		}
	}
	r = perigee(t, nil, "sim", "--trace", trace, "--size", "16M", "--policy", "lru,perigee", "--svg", plot, "--json").want(t, 0)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 10 {
		t.Fatalf("%d lines, want 2 policies in 5 sizes:\n%s", len(lines), r.out)
	}
	for _, line := range lines {
		var run sim.Run
		if err := json.Unmarshal([]byte(line), &run); err != nil || run.Requests != 20000 || run.ObjectRatio <= 0 {
			t.Errorf("%s: %v", line, err)
		}
	}
	if b, err := os.ReadFile(plot); err != nil || !strings.Contains(string(b), "</svg>") {
		t.Errorf("plot: %v", err)
	}
	out := perigee(t, nil, "sim", "--generate", "seed=1,requests=3").want(t, 0).out
	if strings.Count(out, "\n") != 3 {
		t.Errorf("a trace of 3 requests:\n%s", out)
	}
}

func TestSimRefuses(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(trace, []byte("1 a 5\n2 b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ids := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(ids, []byte("a\nb\na\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	perigee(t, nil, "sim", "--trace", ids, "--format", "id", "--size", "2").want(t, 0)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"needs --trace", nil},
		{trace + ":2: 2 fields", []string{"--trace", trace, "--size", "1M"}},
		{"--size x is no size", []string{"--trace", trace, "--size", "x"}},
		{"there is no \"arc\"", []string{"--trace", trace, "--size", "1M", "--policy", "arc"}},
		{"an object size is for format id", []string{"--trace", trace, "--size", "1M", "--object-size", "5"}},
		{"--policy online", []string{"--trace", ids, "--format", "id", "--size", "2", "--max-future", "2"}},
		{"no such file", []string{"--trace", trace + "x", "--size", "1M"}},
		{"no key", []string{"--generate", "colour=red"}},
	} {
		r := perigee(t, nil, append([]string{"sim"}, c.args...)...).want(t, 1)
		if !strings.Contains(r.errOut, c.want) {
			t.Errorf("sim %q says %q, want %q", c.args, r.errOut, c.want)
		}
	}
}
