package querylog

import (
	"net/netip"
	"strconv"
	"time"

	"perigee/spool"
)

// layout is RFC 3339 up to the second; both formats write microseconds behind it.
const layout = "2006-01-02T15:04:05"

func appendTime(b []byte, t time.Time, s *spool.Stamp) []byte {
	b = append(b, s.Of(t, layout)...)
	b = append(b, '.')
	us := t.Nanosecond() / 1000
	for unit := 100_000; unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return append(b, 'Z')
}

// appendText appends a line such as
//
//	2026-11-25T18:19:29.042117Z 192.0.2.0/24 udp www.perigee.test. A 198.51.100.0/24 NOERROR fra 20 do,cookie=good 96 21
//
// and the break: time, client, transport, name, type, client subnet, rcode, edge, scope, flags, bytes of the answer, microseconds. What is not there
// is "-". No value has a space in it.
func (l *Log) appendText(b []byte, e *Entry, s *spool.Stamp) []byte {
	b = append(appendTime(b, e.Time, s), ' ')
	b = column(l.appendClient(b, e.Client), len(b))
	b = append(append(b, e.Transport...), ' ')
	b = column(appendName(b, e.Name, false), len(b))
	b = append(appendType(b, e.Type), ' ')
	b = column(l.appendSubnet(b, e.ECS), len(b))
	b = append(appendRcode(b, e.Rcode), ' ')
	b = column(append(b, e.Edge...), len(b))
	from := len(b)
	if e.ECS.IsValid() {
		b = strconv.AppendInt(b, int64(e.Scope), 10)
	}
	b = column(b, from)
	b = column(appendFlags(b, e), len(b))
	b = append(strconv.AppendInt(b, int64(e.Size), 10), ' ')
	b = strconv.AppendInt(b, micros(e.Duration), 10)
	return append(b, '\n')
}

// column ends the column that began at from; one with nothing in it becomes "-".
func column(b []byte, from int) []byte {
	if len(b) == from {
		b = append(b, '-')
	}
	return append(b, ' ')
}

func micros(d time.Duration) int64 { return max(int64(d/time.Microsecond), 0) }

func appendFlags(b []byte, e *Entry) []byte {
	from := len(b)
	if e.TC {
		b = append(b, ",tc"...)
	}
	if e.DO {
		b = append(b, ",do"...)
	}
	if e.Cookie != "" {
		b = append(append(b, ",cookie="...), e.Cookie...)
	}
	if e.Limited != "" {
		b = append(append(b, ",limited="...), e.Limited...)
	}
	if len(b) > from { // without the first comma
		b = append(b[:from], b[from+1:]...)
	}
	return b
}

// appendJSON appends a line such as
//
//	{"time":"2026-11-25T18:19:29.042117Z","client":"192.0.2.0/24","transport":"udp","name":"www.perigee.test.","type":"A","ecs":"198.51.100.0/24",
//	"rcode":"NOERROR","edge":"fra","scope":20,"tc":false,"do":true,"cookie":"good","limited":"","size":96,"us":21}
//
// without the break. Every key is always there; scope is null without a client subnet.
func (l *Log) appendJSON(b []byte, e *Entry, s *spool.Stamp) []byte {
	b = append(b, `{"time":"`...)
	b = appendTime(b, e.Time, s)
	b = append(b, `","client":"`...)
	b = l.appendClient(b, e.Client)
	b = append(b, `","transport":"`...)
	b = append(b, e.Transport...)
	b = append(b, `","name":"`...)
	b = appendName(b, e.Name, true)
	b = append(b, `","type":"`...)
	b = appendType(b, e.Type)
	b = append(b, `","ecs":"`...)
	b = l.appendSubnet(b, e.ECS)
	b = append(b, `","rcode":"`...)
	b = appendRcode(b, e.Rcode)
	b = append(b, `","edge":`...)
	b = spool.AppendString(b, e.Edge)
	b = append(b, `,"scope":`...)
	if e.ECS.IsValid() {
		b = strconv.AppendInt(b, int64(e.Scope), 10)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"tc":`...)
	b = strconv.AppendBool(b, e.TC)
	b = append(b, `,"do":`...)
	b = strconv.AppendBool(b, e.DO)
	b = append(b, `,"cookie":"`...)
	b = append(b, e.Cookie...)
	b = append(b, `","limited":"`...)
	b = append(b, e.Limited...)
	b = append(b, `","size":`...)
	b = strconv.AppendInt(b, int64(e.Size), 10)
	b = append(b, `,"us":`...)
	b = strconv.AppendInt(b, micros(e.Duration), 10)
	return append(b, "}\n"...)
}

// bits is how many bits of an address are written.
func (c Clients) bits(a netip.Addr) int {
	if a.Is4() {
		return c.IPv4
	}
	return c.IPv6
}

// appendClient appends as much of an address as is to be written, nothing for none.
func (l *Log) appendClient(b []byte, a netip.Addr) []byte {
	a = a.Unmap()
	n := l.clients.bits(a)
	switch {
	case !a.IsValid() || n == 0:
		return b
	case n == a.BitLen():
		return a.WithZone("").AppendTo(b)
	}
	p, _ := a.Prefix(n)
	return p.AppendTo(b)
}

// appendSubnet appends as much of a client subnet as is to be written of a client, nothing for none. What tells nothing, as /0 does, is always written.
func (l *Log) appendSubnet(b []byte, p netip.Prefix) []byte {
	a, n := p.Addr(), p.Bits()
	if a.Is4In6() && n >= 96 {
		a, n = a.Unmap(), n-96
	}
	most := l.clients.bits(a)
	if !p.IsValid() || n > 0 && most == 0 {
		return b
	}
	p, _ = a.Prefix(min(n, most))
	return p.AppendTo(b)
}

// appendName appends a name as zone files have it (RFC 1035 §5.1): bytes that mean something there get a backslash, what is not printable
// becomes \DDD, so that no name has a space or a quote to end it. In a JSON string a backslash is two. A name that is cut short ends there.
func appendName(b, name []byte, json bool) []byte {
	if len(name) > 0 && name[0] == 0 {
		return append(b, '.')
	}
	for len(name) > 0 {
		n := int(name[0])
		if n == 0 || n > 63 || n >= len(name) {
			break
		}
		for _, c := range name[1 : 1+n] {
			switch {
			case c == '.' || c == '\\' || c == '"' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$':
				b = appendBackslash(b, json)
				if json && (c == '"' || c == '\\') {
					b = append(b, '\\')
				}
				b = append(b, c)
			case c <= ' ' || c > '~':
				b = appendBackslash(b, json)
				b = append(b, '0'+c/100, '0'+c/10%10, '0'+c%10)
			default:
				b = append(b, c)
			}
		}
		b = append(b, '.')
		name = name[1+n:]
	}
	return b
}

func appendBackslash(b []byte, json bool) []byte {
	if json {
		b = append(b, '\\')
	}
	return append(b, '\\')
}
