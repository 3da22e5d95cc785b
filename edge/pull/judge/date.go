package judge

import (
	"slices"
	"strings"
	"time"
)

var (
	dayNames  = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	monthsAbc = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
)

// parseDate reads an HTTP-date in one of its three forms (RFC 9110 §5.6.7). Letters may have either case, as RFC 9111 §4.2 asks of caches; the
// name of the day need not fit the date, since the grammar does not tie them. Anything else that differs is invalid. now settles the century
// of the RFC 850 form.
func parseDate(s string, now time.Time) (time.Time, bool) {
	s = strings.ToLower(s)
	day, rest, comma := strings.Cut(s, ", ")
	switch {
	case comma && len(day) == 3:
		return cutDate("DD MMM YYYY hh:mm:ss zzz", rest, isDay(day, 3), now)
	case comma:
		return cutDate("DD-MMM-YY hh:mm:ss zzz", rest, isDay(day, 0), now)
	case len(s) == len("www MMM DD hh:mm:ss YYYY"):
		return cutDate(" MMM DD hh:mm:ss YYYY", s[3:], isDay(s[:3], 3), now)
	}
	return time.Time{}, false
}

// isDay tells whether s is the name of a day, cut to n letters if n is not 0.
func isDay(s string, n int) bool {
	return slices.ContainsFunc(dayNames, func(name string) bool { return s == name || n > 0 && s == name[:n] && len(s) == n })
}

// cutDate reads s along pattern. Runs of one letter take as many bytes; all else stands for itself.
func cutDate(pattern, s string, dayOK bool, now time.Time) (time.Time, bool) {
	if len(s) != len(pattern) || !dayOK {
		return time.Time{}, false
	}
	part := map[byte]string{'z': ""}
	for i := range len(pattern) {
		switch c := pattern[i]; {
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			part[c] += s[i : i+1]
		case c != s[i]:
			return time.Time{}, false
		}
	}
	if pattern[0] == ' ' { // asctime pads the day with a space and has no zone
		part['D'] = strings.Replace(part['D'], " ", "0", 1)
		part['z'] = "gmt"
	}
	return dateOf(part, now)
}

// dateOf puts the parts of a date together if each is in its range.
func dateOf(part map[byte]string, now time.Time) (time.Time, bool) {
	value := map[byte]int{}
	for _, c := range []byte("DYhms") {
		n, ok := digits(part[c])
		if !ok {
			return time.Time{}, false
		}
		value[c] = int(n)
	}
	month := slices.Index(monthsAbc, part['M']) + 1
	if month == 0 || part['z'] != "gmt" || value['h'] > 23 || value['m'] > 59 || value['s'] > 60 {
		return time.Time{}, false
	}
	year := value['Y']
	if len(part['Y']) == 2 {
		year = century(year, month, value['D'], now)
	}
	t := time.Date(year, time.Month(month), value['D'], 0, 0, 0, 0, time.UTC)
	if t.Day() != value['D'] || value['D'] == 0 {
		return time.Time{}, false
	}
	clock := time.Duration(value['h'])*time.Hour + time.Duration(value['m'])*time.Minute + time.Duration(value['s'])*time.Second
	return t.Add(clock), true
}

// century completes a year of two digits: more than 50 years ahead means the past (RFC 9110 §5.6.7).
func century(year, month, day int, now time.Time) int {
	year += now.Year() / 100 * 100
	if time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).After(now.AddDate(50, 0, 0)) {
		year -= 100
	}
	return year
}

// digits reads a number that has nothing but digits; beyond 2^31 it is 2^31 (RFC 9111 §1.2.2).
func digits(s string) (int64, bool) {
	const most = 1 << 31
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), most)
	}
	return n, s != ""
}
