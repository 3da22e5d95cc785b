package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// One question in one packet, enough to see whether a DNS server is there and what it says: RFC 1035 §4.1, no EDNS.
// The DNS library belongs to package dnsgeo, which serves; asking needs this little.

var errDNSAnswer = errors.New("the answer is no DNS message for this question")

// dnsRcodes names the response codes of RFC 1035 §4.1.1.
var dnsRcodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

// askDNS asks server ("host:port") for the A records of a name over network, "udp" or "tcp".
func askDNS(ctx context.Context, network, server, name string) ([]netip.Addr, error) {
	query, err := dnsQuery(name)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			return nil, err
		}
	}
	out := query
	if network == "tcp" { // RFC 1035 §4.2.2: a length goes before each message
		out = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	answer := make([]byte, 64<<10)
	n := 0
	if network == "tcp" {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, err
		}
		n, err = io.ReadFull(conn, answer[:binary.BigEndian.Uint16(size[:])])
	} else {
		n, err = conn.Read(answer)
	}
	if err != nil {
		return nil, err
	}
	return parseDNS(query, answer[:n])
}

func dnsQuery(name string) ([]byte, error) {
	q := make([]byte, 12, 64)
	rand.Read(q[:2])
	binary.BigEndian.PutUint16(q[4:], 1) // one question
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, fmt.Errorf("%q is no domain name", name)
		}
		q = append(append(q, byte(len(label))), label...)
	}
	return append(q, 0, 0, 1, 0, 1), nil // root, A, IN
}

// parseDNS returns the addresses in an answer to query.
func parseDNS(query, b []byte) ([]netip.Addr, error) {
	if len(b) < len(query) || b[0] != query[0] || b[1] != query[1] || b[2]&0x80 == 0 {
		return nil, errDNSAnswer
	}
	if code := int(b[3] & 15); code != 0 {
		if code < len(dnsRcodes) {
			return nil, errors.New("it answers " + dnsRcodes[code])
		}
		return nil, fmt.Errorf("it answers with code %d", code)
	}
	var addrs []netip.Addr
	rest := b[len(query):] // the question comes back as it was sent
	for range binary.BigEndian.Uint16(b[6:]) {
		var ok bool
		if rest, ok = skipName(rest); !ok || len(rest) < 10 {
			return nil, errDNSAnswer
		}
		kind, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[8:]))
		if len(rest) < 10+size {
			return nil, errDNSAnswer
		}
		if kind == 1 && size == 4 {
			addrs = append(addrs, netip.AddrFrom4([4]byte(rest[10:14])))
		}
		rest = rest[10+size:]
	}
	return addrs, nil
}

// skipName returns what follows a name, RFC 1035 §4.1.4: labels up to the root or a pointer.
func skipName(b []byte) ([]byte, bool) {
	for len(b) > 0 {
		switch n := int(b[0]); {
		case n == 0:
			return b[1:], true
		case n&0xc0 == 0xc0:
			return b[min(2, len(b)):], len(b) >= 2
		case n > 63 || len(b) < n+1:
			return nil, false
		default:
			b = b[n+1:]
		}
	}
	return nil, false
}
