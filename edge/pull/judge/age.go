package judge

import (
	"slices"
	"strings"
	"time"
)

// basis is what a freshness lifetime rests on.
type basis int

const (
	none basis = iota
	stated
	guessed
)

// lifetime is the freshness lifetime in seconds (RFC 9111 §4.2.1): s-maxage, max-age, Expires less Date, or at most a heuristic. An invalid
// value of the first that is present counts as 0. Of two Expires lines the first counts.
func (v *version) lifetime() (int64, basis) {
	for _, name := range []string{"s-maxage", "max-age"} {
		if n, present, valid := v.rules.seconds(name); present {
			if !valid {
				n = 0
			}
			return n, stated
		}
	}
	if lines, ok := v.header["Expires"]; ok && !v.targeted {
		return v.untilExpires(lines), stated
	}
	if v.rules.has("public") || slices.Contains(heuristicStatuses, v.status) {
		return v.heuristic(), guessed
	}
	return 0, none
}

func (v *version) untilExpires(lines []string) int64 {
	if len(lines) == 0 {
		return 0
	}
	end, ok := parseDate(lines[0], v.got)
	if !ok {
		return 0
	}
	return max(0, ceil(end.Sub(v.date())))
}

// heuristic is the most that the model lets a cache guess (RFC 9111 §4.2.2): a tenth of the time from Last-Modified to when the response came, or
// to its Date if that is later; 0 without Last-Modified.
func (v *version) heuristic() int64 {
	last, ok := modified(v.header, v.got)
	if !ok {
		return 0
	}
	return max(0, ceil(v.got.Sub(last)/10), ceil(v.date().Sub(last)/10))
}

// date is when the response was generated. One that does not say so, or not in a valid way, is taken to come from when it was received
// (RFC 9110 §6.6.1).
func (v *version) date() time.Time {
	if t, ok := parseDate(v.header.Get("Date"), v.got); ok {
		return t
	}
	return v.got.Truncate(time.Second)
}

// age is current_age of RFC 9111 §4.2.3 at the time now, in whole seconds: the least and the most that roundings of its parts allow. They are
// equal when all times are whole seconds. An Age field that is broken adds nothing here.
func (v *version) age(now time.Time) (least, most int64) {
	field, _ := v.ageField()
	date := v.date()
	apparent := v.got.Sub(date)
	delay := v.got.Sub(v.sent)
	resident := now.Sub(v.got)
	least = max(0, floor(apparent), field+floor(delay)) + floor(resident)
	most = max(0, ceil(apparent), field+ceil(delay)) + ceil(resident)
	const limit = 1 << 31
	return min(least, limit), min(most, limit)
}

// ageField is the value of Age: of several members the first counts, and one that is no number is ignored (RFC 9111 §5.1). ok is false if it is repeated or
// no number.
func (v *version) ageField() (n int64, ok bool) {
	lines, present := v.header["Age"]
	if !present {
		return 0, true
	}
	first, _, several := strings.Cut(lines[0], ",")
	n, ok = digits(strings.Trim(first, " \t"))
	if !ok {
		return 0, false
	}
	return n, !several && len(lines) == 1
}

func floor(d time.Duration) int64 { return int64(d.Truncate(time.Second) / time.Second) }

func ceil(d time.Duration) int64 { return floor(d + time.Second - 1) }
