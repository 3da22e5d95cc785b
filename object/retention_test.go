package object

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRetention(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now := start.Add(100 * time.Hour)
	// history makes versions from letters, the newest first, one an hour, the newest at hour 99: v is a file, x a deletion. Of each the hour is noted.
	history := func(s string) (all []Pointer, hour map[Version]int) {
		hour = map[Version]int{}
		for i, c := range s {
			p := Pointer{State: Live, Version: NextVersion(start.Add(time.Duration(99-i)*time.Hour), 0, "")}
			if c == 'x' {
				p.State = Gone
			}
			hour[p.Version] = 99 - i
			all = append(all, p)
		}
		return all, hour
	}
	for _, c := range []struct {
		history string
		rule    Retention
		want    []int // hours of what goes
	}{
		{"", Retention{Versions: 1}, nil},
		{"v", Retention{Versions: 1}, nil},
		{"vvvv", Retention{Versions: 2}, []int{97, 96}},
		{"vvvv", Retention{Versions: 9}, nil},
		{"xvvv", Retention{Versions: 1}, []int{97, 96}},      // the newest with content, though it was deleted
		{"xvvv", Retention{Age: 1}, []int{98, 97, 96}},       // the deletion itself is the state of the path
		{"vxvxv", Retention{Versions: 2}, []int{95}},         // the deletion between them stays with them
		{"vvvvv", Retention{Age: 3 * 3600}, []int{96, 95}},   // 97 was replaced at hour 98, two hours ago
		{"vvvvv", Retention{Age: 3*3600 + 1}, []int{95}},     // 96 was replaced three hours ago
		{"vvvvv", Retention{Versions: 4, Age: 1}, []int{95}}, // either keeps
		{"vvvvv", Retention{Versions: 1, Age: 1e6}, []int{}}, // either keeps
		{"vvvvv", Retention{Versions: 1}, []int{98, 97, 96, 95}},
	} {
		all, hour := history(c.history)
		var got []int
		for _, v := range c.rule.Expired(all, now) {
			got = append(got, hour[v])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, %+v: %v go, want %v", c.history, c.rule, got, c.want)
		}
	}
	for _, bad := range []Retention{{}, {Versions: -1}, {Age: -1}, {Versions: maxKept + 1}, {Age: maxTTL + 1}} {
		r := SiteRecord{Format: 1, Site: "www", Kind: Published, Version: NextVersion(start, 0, ""), Rules: SiteRules{Retention: &bad}}
		if err := r.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "retention") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
