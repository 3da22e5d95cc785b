package rfc9111

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestParseDate(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Mon, 06 Nov 1994 08:49:37 GMT", // the day of the week is not checked: it says nothing that is not there
	} {
		if got, ok := ParseDate(s, now); !ok || !got.Equal(want) {
			t.Errorf("%q: %v %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "0", "-1", "soon", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49:37",
		"Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT", "Sunday, 06 Nov 1994 08:49:37 GMT", "Sun,  06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
		"Wed, 30 Feb 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Xyz 1994 08:49:37 GMT", "Xyz, 06 Nov 1994 08:49:37 GMT",
		"Sun Nov 6 08:49:37 1994", "Sun Nov 06 08:49:37 1994 GMT", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT ", "\"Sun, 06 Nov 1994 08:49:37 GMT\"",
	} {
		if got, ok := ParseDate(s, now); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
	// A two-digit year is never more than 50 years ahead (RFC 9110 §5.6.7).
	for s, year := range map[string]int{"Monday, 01-Jun-26 12:00:00 GMT": 2026, "Monday, 01-Jun-76 12:00:00 GMT": 2076, "Monday, 01-Jun-76 12:00:01 GMT": 1976, "Monday, 01-Jun-99 12:00:00 GMT": 1999} {
		if got, ok := ParseDate(s, now); !ok || got.Year() != year {
			t.Errorf("%q: %v %v", s, got, ok)
		}
	}
	if got, ok := ParseDate("Sat, 31 Dec 2016 23:59:60 GMT", now); !ok || !got.Equal(time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("a leap second: %v %v", got, ok)
	}
}

func TestDirectives(t *testing.T) {
	const given = time.Second
	for _, c := range []struct {
		lines []string
		name  string
		want  time.Duration // of Seconds; negative if the directive is not there
	}{
		{[]string{"max-age=60"}, "max-age", 60 * given},
		{[]string{"Max-Age=60"}, "max-age", 60 * given},
		{[]string{`max-age="60"`}, "max-age", 60 * given},
		{[]string{`max-age="6\0"`}, "max-age", 60 * given},
		{[]string{"max-age=060"}, "max-age", 60 * given},
		{[]string{", ,max-age=60,"}, "max-age", 60 * given},
		{[]string{"public", "max-age=60"}, "max-age", 60 * given},
		{[]string{"max-age=1, max-age=60"}, "max-age", 1 * given},
		{[]string{`x="a, max-age=600", max-age=5`}, "max-age", 5 * given},
		{[]string{`x="never closed, max-age=5`}, "max-age", 5 * given},
		{[]string{"max-age=99999999999999999999"}, "max-age", maxDelta * given},
		// What is no number of seconds counts as expired (RFC 9111 §4.2.1).
		{[]string{"max-age=-5"}, "max-age", 0},
		{[]string{"max-age=1.5"}, "max-age", 0},
		{[]string{"max-age=+60"}, "max-age", 0},
		{[]string{"max-age= 60"}, "max-age", 0},
		{[]string{"max-age"}, "max-age", 0},
		{[]string{"max-age="}, "max-age", 0},
		{[]string{"max-age=60 public"}, "max-age", 0},
		{[]string{`max-age="60"x`}, "max-age", 0},
		// What is no directive of that name.
		{[]string{"max-age =60"}, "max-age", -1},
		{[]string{"max age=60"}, "max-age", -1},
		{[]string{"xmax-age=60"}, "max-age", -1},
		{[]string{`"max-age"=60`}, "max-age", -1},
		{nil, "max-age", -1},
	} {
		d := ParseDirectives(c.lines)
		got, ok := d.Seconds(c.name)
		if ok != (c.want >= 0) || ok && got != c.want {
			t.Errorf("%q: %v %v", c.lines, got, ok)
		}
		if d.Has(c.name) != ok {
			t.Errorf("%q: Has", c.lines)
		}
	}
}

func TestDirectivesWithFieldNames(t *testing.T) {
	for line, want := range map[string]struct {
		bare   bool
		fields []string
	}{
		"no-cache":                         {true, nil},
		`no-cache=""`:                      {true, nil},
		`no-cache="Set-Cookie"`:            {false, []string{"Set-Cookie"}},
		`no-cache="x-a,  X-B, bad name"`:   {false, []string{"X-A", "X-B"}},
		"no-cache=set-cookie":              {false, []string{"Set-Cookie"}},
		`no-cache="a", no-cache`:           {true, []string{"A"}},
		`no-cache="a", no-cache="b"`:       {false, []string{"A", "B"}},
		`no-cache="a" b`:                   {true, nil}, // unreadable: the careful reading
		"private":                          {false, nil},
		`x="no-cache", nocache, No-Cachex`: {false, nil},
	} {
		d := ParseDirectives([]string{line})
		if got := d.bare("no-cache"); got != want.bare {
			t.Errorf("%s: bare %v", line, got)
		}
		if got := d.Fields("no-cache"); !slices.Equal(got, want.fields) {
			t.Errorf("%s: fields %q", line, got)
		}
	}
}

func TestTargetedField(t *testing.T) {
	for line, want := range map[string]struct {
		targeted bool
		seconds  time.Duration
	}{
		"max-age=60":            {true, time.Minute},
		"max-age=60;x=1":        {true, time.Minute},
		"max-age=1, max-age=60": {true, time.Minute}, // RFC 8941 §3.2: the last one
		`max-age="60"`:          {true, 0},           // a String is no Integer
		"max-age=60.0":          {true, 0},
		"max-age=-1":            {true, 0},
		"Max-Age=60":            {false, 10 * time.Second}, // no key: the field is no Dictionary, and ignored as a whole
		"max-age = 60":          {false, 10 * time.Second},
		"max-age=60,":           {false, 10 * time.Second},
		"":                      {false, 10 * time.Second},
	} {
		h := http.Header{"Cdn-Cache-Control": {line}, "Cache-Control": {"max-age=10"}}
		d, targeted := controlOf(h)
		if got, _ := d.Seconds("max-age"); targeted != want.targeted || got != want.seconds {
			t.Errorf("%q: %v %v", line, targeted, got)
		}
	}
	if d, _ := controlOf(http.Header{"Cdn-Cache-Control": {"no-store=?0, private=?1"}}); d.Has("no-store") || !d.Has("private") {
		t.Error("booleans")
	}
}

func TestAge(t *testing.T) {
	at := func(h http.Header, delay time.Duration) time.Duration {
		f := FactsOf(&Response{Method: "GET", Status: 200, Header: h, Requested: now.Add(-delay), Received: now})
		return f.Age(now.Add(5 * time.Second))
	}
	date := func(ago time.Duration) string { return now.Add(-ago).Format(http.TimeFormat) }
	for _, c := range []struct {
		h     http.Header
		delay time.Duration
		want  time.Duration // after five seconds here
	}{
		{http.Header{"Date": {date(0)}}, 0, 5 * time.Second},
		{http.Header{"Date": {date(time.Minute)}}, 0, 65 * time.Second},
		{http.Header{"Date": {date(0)}, "Age": {"100"}}, 0, 105 * time.Second},
		{http.Header{"Date": {date(0)}, "Age": {"100"}}, 3 * time.Second, 108 * time.Second},
		{http.Header{"Date": {date(time.Hour)}, "Age": {"100"}}, 0, 3605 * time.Second},
		{http.Header{"Date": {date(-time.Hour)}}, 0, 5 * time.Second}, // a clock that is ahead makes nothing younger
		{http.Header{}, 2 * time.Second, 7 * time.Second},
		{http.Header{"Date": {date(0)}, "Age": {"7, 100"}}, 0, 12 * time.Second},
		{http.Header{"Date": {date(0)}, "Age": {"7", "100"}}, 0, 12 * time.Second},
		{http.Header{"Date": {date(0)}, "Age": {"-7"}}, 0, 5 * time.Second},
		{http.Header{"Date": {date(0)}, "Age": {"7.5"}}, 0, 5 * time.Second},
		{http.Header{"Date": {date(0)}, "Age": {"99999999999999999999"}}, 0, (maxDelta + 5) * time.Second},
	} {
		if got := at(c.h, c.delay); got != c.want {
			t.Errorf("%v after %v: %v, want %v", c.h, c.delay, got, c.want)
		}
	}
}

func TestSelectingIsTheSameForWhatMeansTheSame(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []string
		same bool
	}{
		{"Accept-Language", []string{"de, en"}, []string{"de,en"}, true},
		{"Accept-Language", []string{"de", "en"}, []string{"DE , en"}, true},
		{"Accept-Language", []string{"en, de"}, []string{"de, en"}, true},
		{"Accept-Language", []string{"de;q=0.5"}, []string{"de; q=0.5"}, true},
		{"Accept-Language", []string{"de;q=0.5"}, []string{"de;q=0.6"}, false},
		{"Accept-Encoding", []string{"GZIP"}, []string{"gzip"}, true},
		{"Accept-Encoding", []string{"gzip"}, []string{"br"}, false},
		{"X-Any", []string{"a, b"}, []string{"a", "b"}, true},
		{"X-Any", []string{"a, b"}, []string{"b, a"}, false},
		{"X-Any", []string{"A"}, []string{"a"}, false},
		{"X-Any", []string{`"a,b"`}, []string{`"a, b"`}, false}, // within quotes
		{"X-Any", []string{""}, nil, false},                     // empty is not absent
		{"Cookie", []string{"a=1,b"}, []string{"a=1, b"}, false},
	} {
		of := func(lines []string) string {
			h := http.Header{}
			if lines != nil {
				h[c.name] = lines
			}
			return Selecting([]string{c.name}, h)
		}
		if (of(c.a) == of(c.b)) != c.same {
			t.Errorf("%s: %q and %q", c.name, c.a, c.b)
		}
	}
	// No value can look like that of another field.
	names := []string{"A", "B"}
	if Selecting(names, http.Header{"A": {"x"}, "B": {"y"}}) == Selecting(names, http.Header{"A": {"x,y"}}) {
		t.Error("fields run into each other")
	}
}

// FuzzParseDate: what is a date here, is the same date to net/http, whatever else that takes for one.
func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:60 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s, now)
		if !ok {
			return
		}
		again, ok := ParseDate(got.Format(http.TimeFormat), now)
		if year := got.Year(); year < 10_000 && (!ok || !again.Equal(got)) {
			t.Errorf("%q is %v, and then %v", s, got, again)
		}
		if strings.Contains(s, ":60") || strings.Contains(s, "-") { // the leap second, and another pivot of the century, are ours
			return
		}
		if theirs, err := http.ParseTime(s); err == nil && !theirs.Equal(got) {
			t.Errorf("%q: %v and %v", s, got, theirs)
		}
	})
}

// FuzzParseDirectives: nothing panics or grows, and one line says nothing about the next.
func FuzzParseDirectives(f *testing.F) {
	for _, s := range []string{"max-age=60, public", `private="a, b", x="\""`, `x="`, ",,=,=\"", "no-cache=a b"} {
		f.Add(s, "no-store")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		both, first, second := ParseDirectives([]string{a, b}), ParseDirectives([]string{a}), ParseDirectives([]string{b})
		if len(both.list) > maxDirectives {
			t.Errorf("%d directives", len(both.list))
		}
		if want := append(first.list, second.list...); !slices.Equal(both.list, want[:min(len(want), maxDirectives)]) {
			t.Errorf("%q and %q: %v, want %v", a, b, both.list, want)
		}
		for _, d := range both.list {
			if !isToken(d.name) || d.name != strings.ToLower(d.name) {
				t.Errorf("name %q", d.name)
			}
		}
		if v, ok := both.Seconds("max-age"); v < 0 || v > maxDelta*time.Second || v > 0 && !ok {
			t.Errorf("max-age %v", v)
		}
		controlOf(http.Header{TargetedField: {a, b}})
		Selecting([]string{"X"}, http.Header{"X": {a, b}})
	})
}
