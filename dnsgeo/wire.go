package dnsgeo

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// outline is where the parts of a packet lie. It serves what wraps the answering of queries: transports, signatures,
// transfers.
type outline struct {
	opcode int
	qtype  uint16
	// Offsets of the last record and of the OPT and TSIG records, 0 when there is none.
	last, opt, tsig int
}

// outlineOf reports false for a packet whose parts cannot be found, or which does not have one question.
func outlineOf(b []byte) (o outline, ok bool) {
	if len(b) < headerSize || binary.BigEndian.Uint16(b[4:]) != 1 {
		return o, false
	}
	o.opcode = int(b[2]>>3) & 0xf
	off, _, ok := skipName(b, headerSize)
	if !ok || off+4 > len(b) {
		return o, false
	}
	o.qtype = binary.BigEndian.Uint16(b[off:])
	off += 4
	n := int(binary.BigEndian.Uint16(b[6:])) + int(binary.BigEndian.Uint16(b[8:])) + int(binary.BigEndian.Uint16(b[10:]))
	for range n {
		end, _, ok := skipName(b, off)
		if !ok || end+10 > len(b) {
			return o, false
		}
		o.last = off
		switch binary.BigEndian.Uint16(b[end:]) {
		case dns.TypeOPT:
			o.opt = off
		case dns.TypeTSIG:
			o.tsig = off
		}
		off = end + 10 + int(binary.BigEndian.Uint16(b[end+8:]))
		if off > len(b) {
			return o, false
		}
	}
	return o, off == len(b)
}

// optFixed is the length of an OPT record without options: the root's name, type, class, TTL and length.
const optFixed = 11

// hasOption reports whether the OPT record of a packet has an option of a code.
func (o outline) hasOption(b []byte, code uint16) bool {
	if o.opt == 0 || o.opt+optFixed > len(b) {
		return false
	}
	options := b[o.opt+optFixed:]
	options = options[:min(len(options), int(binary.BigEndian.Uint16(b[o.opt+optFixed-2:])))]
	for len(options) >= 4 {
		if binary.BigEndian.Uint16(options) == code {
			return true
		}
		options = options[min(len(options), 4+int(binary.BigEndian.Uint16(options[2:]))):]
	}
	return false
}

// appendOption adds an EDNS option to a packed message, if it ends in an OPT record.
func appendOption(b []byte, code uint16, data []byte) []byte {
	o, ok := outlineOf(b)
	if !ok || o.opt == 0 || o.opt != o.last || len(b)+4+len(data) > dns.MaxMsgSize {
		return b
	}
	at := o.opt + optFixed - 2
	binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+4+uint16(len(data)))
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}
