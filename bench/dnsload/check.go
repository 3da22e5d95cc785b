package dnsload

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// What can be wrong with an answer.
var (
	errShort    = errors.New("an answer without a header")
	errNotAsked = errors.New("an answer to no open question: late, twice, or with another id")
	errHeader   = errors.New("not an authoritative, complete answer to one query")
	errQuestion = errors.New("another question")
	errRcode    = errors.New("another response code")
	errCount    = errors.New("another number of answers")
	errBroken   = errors.New("a record that ends early, or bytes after the last one")
	errOwner    = errors.New("a record of another name, type or class")
	errAddress  = errors.New("an address that is not known")
	errSubnet   = errors.New("another client subnet, or none")
)

// check reports what is wrong with an answer to q; nil when all is right.
func (q *query) check(b []byte) error {
	const tc = 0x02
	// QR and AA set, opcode and RD as asked (0).
	if len(b) < headerSize || b[2]&^tc != 0x84 || b[2]&tc != 0 || !bytes.Equal(b[:2], q.packet[:2]) {
		return errHeader
	}
	if b[3]&15 != q.kind.Rcode {
		return errRcode
	}
	if binary.BigEndian.Uint16(b[4:]) != 1 || len(b) < q.end || !bytes.Equal(b[headerSize:q.end], q.packet[headerSize:q.end]) {
		return errQuestion
	}
	answers, others := int(binary.BigEndian.Uint16(b[6:])), int(binary.BigEndian.Uint16(b[8:]))+int(binary.BigEndian.Uint16(b[10:]))
	if (answers == 1) != (len(q.kind.addrs) > 0) || answers > 1 {
		return errCount
	}
	at := q.end
	if answers == 1 {
		rr, ok := readRecord(b, at)
		if !ok {
			return errBroken
		}
		if err := q.checkAddress(b, rr, at); err != nil {
			return err
		}
		at = rr.end
	}
	return q.checkRest(b, at, others)
}

// checkAddress checks the only record of the answer section.
func (q *query) checkAddress(b []byte, rr record, at int) error {
	name := q.packet[headerSize : q.end-4]
	if pointer := b[at] == 0xc0 && b[at+1] == headerSize; !pointer && !bytes.Equal(b[at:rr.fixed], name) || rr.kind != q.kind.Type || rr.class != classIN {
		return errOwner
	}
	data := b[rr.data:rr.end]
	if q.addr != nil {
		if !bytes.Equal(data, q.addr) {
			return errAddress
		}
		return nil
	}
	for _, a := range q.kind.addrs {
		if bytes.Equal(data, a) {
			return nil
		}
	}
	return errAddress
}

// checkRest checks the n records from at on, among which the OPT record is, and that nothing follows them.
func (q *query) checkRest(b []byte, at, n int) error {
	options := 0
	subnet := []byte(nil)
	for range n {
		rr, ok := readRecord(b, at)
		if !ok {
			return errBroken
		}
		if rr.kind == typeOPT {
			options++
			if subnet, ok = findSubnet(b[rr.data:rr.end]); !ok {
				return errBroken
			}
		}
		at = rr.end
	}
	switch want := q.ecs(); {
	case at != len(b):
		return errBroken
	case options != 1: // RFC 6891 §6.1.1: a query with EDNS is answered with EDNS
		return errOwner
	case want == nil && subnet != nil, want != nil && subnet == nil:
		return errSubnet
	case want != nil && (len(subnet) != len(want) || !bytes.Equal(subnet[:3], want[:3]) || subnet[3] > 32 || !bytes.Equal(subnet[4:], want[4:])):
		return errSubnet // RFC 7871 §7.2.1: all but the scope comes back as it was sent
	}
	return nil
}

// record says where the parts of a record are.
type record struct {
	fixed, data, end int // of the type, the data, and what follows
	kind, class      uint16
}

// readRecord reads the record at a place of a message (RFC 1035 §4.1.3).
func readRecord(b []byte, at int) (record, bool) {
	for {
		if at >= len(b) {
			return record{}, false
		}
		n := int(b[at])
		at++
		if n == 0 {
			break
		}
		if n >= 0xc0 { // a pointer ends a name
			at++
			break
		}
		if n > 63 {
			return record{}, false
		}
		at += n
	}
	if at+10 > len(b) {
		return record{}, false
	}
	r := record{fixed: at, data: at + 10, kind: binary.BigEndian.Uint16(b[at:]), class: binary.BigEndian.Uint16(b[at+2:])}
	r.end = r.data + int(binary.BigEndian.Uint16(b[at+8:]))
	return r, r.end <= len(b)
}

// findSubnet returns the data of the client-subnet option among options, nil when there is none. ok is false when they are no options (RFC 6891 §6.1.2), or it has
// two of them.
func findSubnet(b []byte) (subnet []byte, ok bool) {
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, false
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < n {
			return nil, false
		}
		if binary.BigEndian.Uint16(b) == optECS {
			if subnet != nil || n < 4+4 {
				return nil, false
			}
			subnet = b[4:n]
		}
		b = b[n:]
	}
	return subnet, true
}
