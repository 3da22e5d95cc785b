package rfc9111

import (
	"strings"
	"time"
)

// ParseDate reads an HTTP-date (RFC 9110 §5.6.7) in one of its three formats, in any case (RFC 9111 §4.2). Anything else is no date: other zones, other
// numbers of digits or spaces, days that a month does not have. now settles the century of two-digit years: no year is more than 50 years ahead.
func ParseDate(s string, now time.Time) (time.Time, bool) {
	p := dateParser{s: s, ok: true}
	switch {
	case len(s) > 3 && s[3] == ',':
		return p.imf()
	case len(s) > 3 && s[3] == ' ':
		return p.asctime()
	}
	return p.rfc850(now)
}

const (
	days   = "mon tue wed thu fri sat sun "
	months = "jan feb mar apr may jun jul aug sep oct nov dec "
)

var longDays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

// dateParser takes a date apart from its front; ok becomes false for good at the first thing that is not as it should be.
type dateParser struct {
	s  string
	ok bool
}

// text takes want, in any case.
func (p *dateParser) text(want string) {
	if len(p.s) < len(want) || !strings.EqualFold(p.s[:len(want)], want) {
		p.ok, p.s = false, ""
		return
	}
	p.s = p.s[len(want):]
}

// name takes one of the three-letter words of list and returns which, from 0.
func (p *dateParser) name(list string) int {
	if len(p.s) < 3 {
		p.ok = false
		return 0
	}
	i := strings.Index(list, strings.ToLower(p.s[:3])+" ")
	if i < 0 || i%4 != 0 {
		p.ok = false
		return 0
	}
	p.s = p.s[3:]
	return i / 4
}

// number takes a number of n digits.
func (p *dateParser) number(n int) (v int) {
	if len(p.s) < n {
		p.ok, p.s = false, ""
		return 0
	}
	for _, c := range []byte(p.s[:n]) {
		if c < '0' || c > '9' {
			p.ok = false
			return 0
		}
		v = 10*v + int(c-'0')
	}
	p.s = p.s[n:]
	return v
}

// clock takes hour, minute and second.
func (p *dateParser) clock() (h, m, s int) {
	h = p.number(2)
	p.text(":")
	m = p.number(2)
	p.text(":")
	return h, m, p.number(2)
}

// imf reads "Sun, 06 Nov 1994 08:49:37 GMT".
func (p *dateParser) imf() (time.Time, bool) {
	p.name(days)
	p.text(", ")
	day := p.number(2)
	p.text(" ")
	month := p.name(months)
	p.text(" ")
	year := p.number(4)
	p.text(" ")
	h, m, s := p.clock()
	p.text(" GMT")
	return p.date(year, month, day, h, m, s)
}

// rfc850 reads "Sunday, 06-Nov-94 08:49:37 GMT".
func (p *dateParser) rfc850(now time.Time) (time.Time, bool) {
	day, rest, _ := strings.Cut(p.s, ",")
	known := false
	for _, d := range longDays {
		known = known || strings.EqualFold(d, day)
	}
	if !known {
		return time.Time{}, false
	}
	p.s = rest
	p.text(" ")
	n := p.number(2)
	p.text("-")
	month := p.name(months)
	p.text("-")
	year := p.number(2) + now.UTC().Year()/100*100
	p.text(" ")
	h, m, s := p.clock()
	p.text(" GMT")
	t, ok := p.date(year, month, n, h, m, s)
	for ok && t.After(now.AddDate(50, 0, 0)) {
		year -= 100
		t, ok = p.date(year, month, n, h, m, s)
	}
	return t, ok
}

// asctime reads "Sun Nov  6 08:49:37 1994".
func (p *dateParser) asctime() (time.Time, bool) {
	p.name(days)
	p.text(" ")
	month := p.name(months)
	p.text(" ")
	var day int
	if strings.HasPrefix(p.s, " ") {
		p.text(" ")
		day = p.number(1)
	} else {
		day = p.number(2)
	}
	p.text(" ")
	h, m, s := p.clock()
	p.text(" ")
	return p.date(p.number(4), month, day, h, m, s)
}

// date makes a time of the parts, month counted from 0. A leap second is the second after.
func (p *dateParser) date(year, month, day, h, m, s int) (time.Time, bool) {
	if !p.ok || p.s != "" || h > 23 || m > 59 || s > 60 || day < 1 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month+1), day, h, m, s, 0, time.UTC)
	if time.Date(year, time.Month(month+1), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return time.Time{}, false
	}
	return t, true
}
