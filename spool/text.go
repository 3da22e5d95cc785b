package spool

import (
	"time"
	"unicode/utf8"
)

// MaxValue is how much of a value AppendEscaped and AppendString write, in bytes; each may become six.
const MaxValue = 4 << 10

// Stamp keeps the last second written out: formatting one costs more than all the rest of a line.
type Stamp struct {
	second int64
	set    bool
	text   []byte
}

// Of returns t in UTC in a layout of package time that goes down to the second. A Stamp is used with one layout only. The result lasts until
// the next call.
func (s *Stamp) Of(t time.Time, layout string) []byte {
	if sec := t.Unix(); !s.set || sec != s.second {
		s.second, s.set = sec, true
		s.text = t.UTC().AppendFormat(s.text[:0], layout)
	}
	return s.text
}

const hexDigits = "0123456789abcdef"

// plain are the bytes that both forms write as they are.
var plain = func() (p [256]bool) {
	for c := ' '; c <= '~'; c++ {
		p[c] = c != '"' && c != '\\'
	}
	return p
}()

// AppendEscaped appends a value as Apache does, so that no request can end a quoted string or begin a line: '"' and '\' get a
// backslash, what is not printable ASCII becomes \n, \t or \xhh; an empty value is "-".
func AppendEscaped(b []byte, v string) []byte {
	if v == "" {
		return append(b, '-')
	}
	v = v[:min(len(v), MaxValue)]
	from := 0
	for i := range len(v) {
		c := v[i]
		if plain[c] {
			continue
		}
		b = append(b, v[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(b, v[from:]...)
}

// AppendString appends a JSON string (RFC 8259 §7). What is no UTF-8 becomes U+FFFD.
func AppendString(b []byte, v string) []byte {
	b = append(b, '"')
	v = v[:min(len(v), MaxValue)]
	from := 0
	for i := 0; i < len(v); {
		c := v[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(v[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, v[from:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, `\ufffd`...)
		}
		i++
		from = i
	}
	b = append(b, v[from:]...)
	return append(b, '"')
}
