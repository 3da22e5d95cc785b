package accesslog

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Entry is what a line tells of one request.
type Entry struct {
	Time     time.Time     // when the request had been read
	Duration time.Duration // until the answer was handed to the system
	Client   string        // address, with or without the port
	Method   string
	Host     string
	Target   string // as in the request line
	Minor    int    // of HTTP/1
	Status   int
	Bytes    int64 // of the body
	// Fwd and Reason are the words of Cache-Status, plain tokens: why the request was forwarded (RFC 9211 §2.2; "" if it was not), and the detail.
	Fwd, Reason string
	Referer     string
	Agent       string
}

// stamp keeps the last second written out: formatting one costs more than all the rest of a line.
type stamp struct {
	second int64
	set    bool
	text   []byte
}

// The layouts of the two formats, up to the second.
const (
	combinedTime = "02/Jan/2006:15:04:05 -0700"
	jsonTime     = "2006-01-02T15:04:05"
)

func (s *stamp) of(t time.Time, layout string) []byte {
	if sec := t.Unix(); !s.set || sec != s.second {
		s.second, s.set = sec, true
		s.text = t.UTC().AppendFormat(s.text[:0], layout)
	}
	return s.text
}

// appendCombined appends a line such as
//
//	192.0.2.1 - - [25/Nov/2026:18:19:29 +0000] "GET /file HTTP/1.1" 200 5 "-" "curl/8.5"
func appendCombined(b []byte, e *Entry, s *stamp) []byte {
	b = appendEscaped(b, address(e.Client))
	b = append(b, " - - ["...)
	b = append(b, s.of(e.Time, combinedTime)...)
	b = append(b, "] \""...)
	b = appendEscaped(b, e.Method)
	b = append(b, ' ')
	b = appendEscaped(b, e.Target)
	b = append(b, " HTTP/1."...)
	b = strconv.AppendInt(b, int64(e.Minor), 10)
	b = append(b, "\" "...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, ' ')
	if e.Bytes == 0 {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, e.Bytes, 10)
	}
	b = append(b, " \""...)
	b = appendEscaped(b, e.Referer)
	b = append(b, "\" \""...)
	b = appendEscaped(b, e.Agent)
	return append(b, "\"\n"...)
}

// address cuts the port off.
func address(client string) string {
	for i := len(client) - 1; i >= 0; i-- {
		if client[i] == ':' {
			if i > 1 && client[0] == '[' && client[i-1] == ']' {
				return client[1 : i-1]
			}
			for _, c := range client[:i] {
				if c == ':' {
					return client // IPv6 without a port
				}
			}
			return client[:i]
		}
	}
	return client
}

const hexDigits = "0123456789abcdef"

// plain are the bytes that both formats write as they are.
var plain = func() (p [256]bool) {
	for c := ' '; c <= '~'; c++ {
		p[c] = c != '"' && c != '\\'
	}
	return p
}()

// appendEscaped appends a value as Apache does, so that no request can end a quoted string or begin a line: '"' and '\' get a
// backslash, what is not printable ASCII becomes \n, \t or \xhh; an empty value is "-".
func appendEscaped(b []byte, v string) []byte {
	if v == "" {
		return append(b, '-')
	}
	v = v[:min(len(v), maxValue)]
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

// appendJSON appends a line such as
//
//	{"time":"2026-11-25T18:19:29.042Z","client":"192.0.2.1","method":"GET","host":"www.example","target":"/file","status":200,"bytes":5,
//	"fwd":"","reason":"ram","duration":0.000021,"referer":"","agent":"curl/8.5"}
//
// without the break; duration is in seconds.
func appendJSON(b []byte, e *Entry, s *stamp) []byte {
	b = append(b, `{"time":"`...)
	b = append(b, s.of(e.Time, jsonTime)...)
	ms := e.Time.Nanosecond() / 1e6
	b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	b = append(b, `Z","client":`...)
	b = appendString(b, address(e.Client))
	b = append(b, `,"method":`...)
	b = appendString(b, e.Method)
	b = append(b, `,"host":`...)
	b = appendString(b, e.Host)
	b = append(b, `,"target":`...)
	b = appendString(b, e.Target)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, e.Bytes, 10)
	b = append(b, `,"fwd":"`...)
	b = append(b, e.Fwd...)
	b = append(b, `","reason":"`...)
	b = append(b, e.Reason...)
	b = append(b, `","duration":`...)
	b = appendSeconds(b, e.Duration)
	b = append(b, `,"referer":`...)
	b = appendString(b, e.Referer)
	b = append(b, `,"agent":`...)
	b = appendString(b, e.Agent)
	return append(b, "}\n"...)
}

// appendSeconds appends a duration in seconds, to the microsecond.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(int64(d/time.Microsecond), 0)
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	for unit := int64(1e5); unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return b
}

// appendString appends a JSON string (RFC 8259 §7). What is no UTF-8 becomes U+FFFD.
func appendString(b []byte, v string) []byte {
	b = append(b, '"')
	v = v[:min(len(v), maxValue)]
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
