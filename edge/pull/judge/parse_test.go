package judge

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

func TestParsesDates(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun Nov 06 08:49:37 1994",
		"sun, 06 NOV 1994 08:49:37 gmt", "Mon, 06 Nov 1994 08:49:37 GMT",
	} {
		if got, ok := parseDate(s, epoch); !ok || !got.Equal(want) {
			t.Errorf("parseDate(%q) = %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT",
		"Xyz, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, +6 Nov 1994 08:49:37 GMT",
		"1994-11-06T08:49:37Z", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 94", "Sun, 06 Nov 1994 08:49:37 +0000", "Sun,  6 Nov 1994 08:49:37 GMT",
	} {
		if got, ok := parseDate(s, epoch); ok {
			t.Errorf("parseDate(%q) = %v, want none", s, got)
		}
	}
}

func TestTwoDigitYears(t *testing.T) {
	for s, year := range map[string]int{"Wednesday, 01-Jan-75 00:00:00 GMT": 2075, "Friday, 01-Jan-77 00:00:00 GMT": 1977, "Saturday, 01-Jan-00 00:00:00 GMT": 2000} {
		if got, ok := parseDate(s, epoch); !ok || got.Year() != year {
			t.Errorf("parseDate(%q) = %v, %v; want year %d", s, got, ok, year)
		}
	}
}

func TestParsesDirectives(t *testing.T) {
	for value, want := range map[string]string{
		"":                                "[]",
		"no-store":                        "[{no-store  0}]",
		"No-Store, ,MAX-AGE=5,":           "[{no-store  0} {max-age 5 1}]",
		`max-age="5" , x="a, b=\"c\"", y`: `[{max-age 5 2} {x a, b="c" 2} {y  0}]`,
		"max-age= 5":                      "[{max-age  5 5}]",
		"max-age =5":                      "[{max-age  5}]",
		`x="open, no-store`:               `[{x "open, no-store 5}]`,
		`private=`:                        "[{private  5}]",
	} {
		if got := fmt.Sprint([]directive(parseDirectives([]string{value}))); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestReadsSeconds(t *testing.T) {
	for value, want := range map[string]string{
		"max-age=5": "5 true true", "max-age=\"5\"": "5 true true", "max-age=007": "7 true true", "max-age=-5": "0 true false", "max-age=5.0": "0 true false",
		"max-age": "0 true false", "max-age=x": "0 true false", "max-age=99999999999999999999999": "2147483648 true true", "s-maxage=5": "0 false false",
		"max-age=1, max-age=2": "1 true true", "max-age=x, max-age=2": "0 true false", "max-age= 5": "0 true false",
	} {
		n, present, valid := parseDirectives([]string{value}).seconds("max-age")
		if got := fmt.Sprint(n, present, valid); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestParsesTargetedFields(t *testing.T) {
	for value, want := range map[string]string{
		"max-age=5, no-store":    "[{max-age 5 3} {no-store  0}]",
		"max-age=5;x=1;y , a=b":  "[{max-age 5 3} {a b 4}]",
		"max-age=1, max-age=2":   "[{max-age 2 3}]",
		"no-store=?0, private":   "[{private  0}]",
		`max-age="5", a=1.5`:     "[{max-age 5 4} {a 1.5 4}]",
		`a=(1 "b";c), d=:aGk=:`:  "[{a  4} {d aGk= 4}]",
		"  max-age=-5  ":         "[{max-age -5 3}]",
		"":                       "[]",
		"Max-Age=5":              "invalid",
		"max-age=5,":             "invalid",
		"max-age = 5":            "invalid",
		"max-age=":               "invalid",
		"max-age=5 no-store":     "invalid",
		`a="x`:                   "invalid",
		`a="\x"`:                 "invalid",
		"a=1234567890123456":     "invalid",
		"a=?2":                   "invalid",
		"a=(1":                   "invalid",
		"a=:~:":                  "invalid",
		"a=@5":                   "invalid",
		"a=1.":                   "invalid",
		"max-age=5, , no-store":  "invalid",
		"max-age=5\t,\tno-store": "[{max-age 5 3} {no-store  0}]",
	} {
		ds, ok := parseTargeted([]string{value})
		got := fmt.Sprint([]directive(ds))
		if !ok {
			got = "invalid"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestQualifiedDirectives(t *testing.T) {
	for value, want := range map[string]string{
		`private`: "[] true", `private="a, B"`: "[A B] false", `private=a`: "[A] false", `private=""`: "[] true", `private="a", private`: "[A] true", `x`: "[] false",
	} {
		fields, all := parseDirectives([]string{value}).qualified("private")
		if got := fmt.Sprint(fields, all); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for _, c := range []struct {
		name        string
		date, age   string
		sent, got   float64
		now         float64
		least, most int64
	}{
		{"resident only", on(0), "", 0, 0, 10, 10, 10},
		{"apparent age", on(-20), "", 0, 0, 10, 30, 30},
		{"Age", on(0), "40", 0, 0, 10, 50, 50},
		{"Age and delay", on(0), "40", 0, 3, 10, 50, 50},
		{"delay", on(3), "", 0, 3, 10, 10, 10},
		{"the larger of both", on(-100), "40", 0, 3, 10, 110, 110},
		{"Date in the future", on(100), "", 0, 0, 10, 10, 10},
		{"no Date", "", "7", 0, 0, 10, 17, 17},
		{"broken Date", "now", "7", 0, 0, 10, 17, 17},
		{"broken Age", on(0), "x", 0, 0, 10, 10, 10},
		{"beyond what fits", on(0), "99999999999", 0, 0, 10, 1 << 31, 1 << 31},
		{"parts of seconds", on(0), "", 0.2, 0.7, 10.2, 9, 11},
	} {
		v := &version{header: http.Header{}, sent: at(0).Add(frac(c.sent)), got: at(0).Add(frac(c.got))}
		if c.date != "" {
			v.header.Set("Date", c.date)
		}
		if c.age != "" {
			v.header.Set("Age", c.age)
		}
		if least, most := v.age(at(0).Add(frac(c.now))); least != c.least || most != c.most {
			t.Errorf("%s: %d to %d, want %d to %d", c.name, least, most, c.least, c.most)
		}
	}
}

func frac(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func TestLifetime(t *testing.T) {
	for _, c := range []struct {
		fields []string
		want   int64
		on     basis
	}{
		{[]string{"Cache-Control: max-age=5", "Expires: " + on(60)}, 5, stated},
		{[]string{"Cache-Control: max-age=5, s-maxage=6"}, 6, stated},
		{[]string{"Cache-Control: max-age=5, s-maxage=x"}, 0, stated},
		{[]string{"Expires: " + on(60), "Expires: " + on(90)}, 60, stated},
		{[]string{"Expires: " + on(-60)}, 0, stated},
		{[]string{"Expires: 60", "Last-Modified: " + on(-600)}, 0, stated},
		{[]string{"Last-Modified: " + on(-600)}, 60, guessed},
		{[]string{"Last-Modified: " + on(600)}, 0, guessed},
		{[]string{"Cdn-Cache-Control: max-age=7", "Cache-Control: s-maxage=6"}, 7, stated},
		{[]string{"Cdn-Cache-Control: foo", "Expires: " + on(60), "Last-Modified: " + on(-600)}, 60, guessed},
	} {
		v := &version{status: 200, header: lines(append(c.fields, "Date: "+on(0))), got: at(0), asked: []http.Header{nil}}
		v.decide()
		if got, on := v.lifetime(); got != c.want || on != c.on {
			t.Errorf("%v: %d on %d, want %d on %d", c.fields, got, on, c.want, c.on)
		}
	}
}

func TestSplitsEntityTags(t *testing.T) {
	for value, want := range map[string][]string{
		`"a"`: {`"a"`}, `"a","b"`: {`"a"`, `"b"`}, `W/"a,b" , "c"`: {`W/"a,b"`, `"c"`}, `*`: {"*"}, `a, "b`: {"a", `"b`}, `, ,`: nil, `"a\", "b"`: {`"a\"`, `"b"`},
	} {
		if got := tags([]string{value}); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestResolvesRanges(t *testing.T) {
	for value, want := range map[string]string{
		"bytes=0-4": "0-4", "bytes=4-": "4-9", "bytes=-3": "7-9", "bytes=-30": "0-9", "bytes=8-20": "8-9", "Bytes=0-0, 2-2": "0-0 2-2", "bytes=10-": "none",
		"bytes=-0": "none", "bytes=4-2": "invalid", "bytes=": "invalid", "bytes=a-b": "invalid", "bytes=--1": "invalid", "lines=1-2": "unknown", "": "unknown",
	} {
		ranges, known, valid := parseRange(lines([]string{"Range: " + value}))
		got := ""
		for _, r := range ranges {
			if first, last, ok := r.resolve(10); ok {
				got += fmt.Sprintf(" %d-%d", first, last)
			} else {
				got += " none"
			}
		}
		if !valid {
			got = " invalid"
		}
		if !known {
			got = " unknown"
		}
		if got != " "+want {
			t.Errorf("%q:%s, want %s", value, got, want)
		}
	}
}

func TestParsesContentRange(t *testing.T) {
	for value, want := range map[string]string{
		"bytes 0-4/10": "0 4 10 true", "bytes 0-4/*": "0 4 -1 true", "bytes */10": "-1 -1 10 true",
	} {
		first, last, total, ok := parseContentRange(value)
		if got := fmt.Sprint(first, last, total, ok); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	for _, value := range []string{"", "bytes 4-0/10", "bytes 0-10/10", "bytes */*", "bytes=0-4/10", "bytes 0-4", "items 0-4/10"} {
		if _, _, _, ok := parseContentRange(value); ok {
			t.Errorf("%q is accepted", value)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add(`max-age="5", x="\", a=(1 2);b`)
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT")
	f.Add(`W/"a", "b`)
	f.Add("bytes=0-4,-3")
	f.Fuzz(func(t *testing.T, s string) {
		parseDate(s, epoch)
		parseDirectives([]string{s})
		parseTargeted([]string{s})
		tags([]string{s})
		parseRange(http.Header{"Range": {s}})
		parseContentRange(s)
		resolve("/a", s)
	})
}
