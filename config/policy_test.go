package config

import (
	"strings"
	"testing"
	"time"
)

func TestReadPolicy(t *testing.T) {
	p, err := ReadPolicy(declare(t, `
groups: {europe: [fra, ams]}
answers: 2
overrides:
  - {subnet: 198.51.100.0/24, edges: ["@europe"], only: true}
edges:
  fra: {bias: 10, weight: 2}
  ams: {drain: true}
latency: {samples: 20, step: 10ms}
capacity: {high: 0.9, hold: 5m}
`))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Rules()
	if r.Answers != 2 || r.Edges["fra"].Bias != 10 || !r.Edges["ams"].Drain || r.Latency.Step != 10*time.Millisecond || r.Capacity.Hold != 5*time.Minute || len(r.Overrides) != 1 {
		t.Errorf("%+v", r)
	}
	if p, err := ReadPolicy(declare(t, "# the nearest edge\n")); err != nil || p == nil {
		t.Errorf("%v %v", p, err)
	}
	for text, want := range map[string]string{
		"answrs: 2\n":                       `sites.yaml:1: answrs: unknown key; did you mean "answers"?`,
		"edges:\n  fra: {biass: 5}\n":       `sites.yaml:2: edges.fra.biass: unknown key; did you mean "bias"?`,
		"answers: 99\n":                     "sites.yaml:1: ",
		"latency: {samples: 5, step: 10}":   `"10" is no duration`,
		"latency: {samples: 5, step_ns: 1}": "unknown key",
		"- a\n":                             "expected keys with values",
	} {
		if _, err := ReadPolicy(declare(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
