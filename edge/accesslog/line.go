package accesslog

import (
	"strconv"
	"time"

	"perigee/spool"
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

// The layouts of the two formats, up to the second.
const (
	combinedTime = "02/Jan/2006:15:04:05 -0700"
	jsonTime     = "2006-01-02T15:04:05"
)

// appendCombined appends a line such as
//
//	192.0.2.1 - - [25/Nov/2026:18:19:29 +0000] "GET /file HTTP/1.1" 200 5 "-" "curl/8.5"
func appendCombined(b []byte, e *Entry, s *spool.Stamp) []byte {
	b = spool.AppendEscaped(b, address(e.Client))
	b = append(b, " - - ["...)
	b = append(b, s.Of(e.Time, combinedTime)...)
	b = append(b, "] \""...)
	b = spool.AppendEscaped(b, e.Method)
	b = append(b, ' ')
	b = spool.AppendEscaped(b, e.Target)
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
	b = spool.AppendEscaped(b, e.Referer)
	b = append(b, "\" \""...)
	b = spool.AppendEscaped(b, e.Agent)
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

// appendJSON appends a line such as
//
//	{"time":"2026-11-25T18:19:29.042Z","client":"192.0.2.1","method":"GET","host":"www.example","target":"/file","status":200,"bytes":5,
//	"fwd":"","reason":"ram","duration":0.000021,"referer":"","agent":"curl/8.5"}
//
// without the break; duration is in seconds.
func appendJSON(b []byte, e *Entry, s *spool.Stamp) []byte {
	b = append(b, `{"time":"`...)
	b = append(b, s.Of(e.Time, jsonTime)...)
	ms := e.Time.Nanosecond() / 1e6
	b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	b = append(b, `Z","client":`...)
	b = spool.AppendString(b, address(e.Client))
	b = append(b, `,"method":`...)
	b = spool.AppendString(b, e.Method)
	b = append(b, `,"host":`...)
	b = spool.AppendString(b, e.Host)
	b = append(b, `,"target":`...)
	b = spool.AppendString(b, e.Target)
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
	b = spool.AppendString(b, e.Referer)
	b = append(b, `,"agent":`...)
	b = spool.AppendString(b, e.Agent)
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
