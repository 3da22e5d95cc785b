package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Mistake is one thing that is wrong with a configuration.
type Mistake struct {
	Where   string // "perigee.yaml:12", "PERIGEE_API_LISTEN", "--set api.listen"; "" when it is a default
	Key     string // "api.listen"; "" when it concerns no key
	Problem string // a sentence that says what is expected
}

// String returns "where: key: problem".
func (m Mistake) String() string {
	var parts []string
	for _, p := range []string{m.Where, m.Key, m.Problem} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// Mistakes are all that is wrong with a configuration, as an error.
type Mistakes []Mistake

// Error returns one line for each mistake.
func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// add notes a mistake, once: what every edge takes over from the section edge is wrong in one place only.
func (ms *Mistakes) add(where, key, format string, args ...any) {
	m := Mistake{where, key, fmt.Sprintf(format, args...)}
	if !slices.ContainsFunc(*ms, func(o Mistake) bool { return where != "" && o.Where == where && o.Problem == m.Problem }) {
		*ms = append(*ms, m)
	}
}

// err returns the mistakes as an error: those of the file by line, then the rest.
func (ms Mistakes) err() error {
	if len(ms) == 0 {
		return nil
	}
	slices.SortStableFunc(ms, func(a, b Mistake) int { return cmp.Compare(lineOf(a), lineOf(b)) })
	return ms
}

func lineOf(m Mistake) int {
	if i := strings.LastIndexByte(m.Where, ':'); i >= 0 {
		if n, err := strconv.Atoi(m.Where[i+1:]); err == nil {
			return n
		}
	}
	return math.MaxInt
}

// suggest returns `; did you mean "x"?` for the candidate nearest to word, or nothing if none is near.
func suggest(word string, candidates []string) string {
	best, most := "", max(2, len(word)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), most); d <= most {
			best, most = c, d-1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that lead from a to b. What is
// certain to exceed most is not counted out: it is most+1.
func distance(a, b string, most int) int {
	if d := len(a) - len(b); d > most || -d > most {
		return most + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
