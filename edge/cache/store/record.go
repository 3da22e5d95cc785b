package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// head is the beginning of a record. On disk, little endian:
//
//	magic 4 | CRC-32C of what follows and the meta part, mixed with store, segment and offset 4 | key 16 | number 8 |
//	body length 4 | CRC-32C of the body 4 | meta length 4 | class 1 | zero 3
type head struct {
	key     Key
	seq     uint64
	bodyLen int
	bodyCRC uint32
	metaLen int
	class   Class
	dead    bool // killed in place
}

const (
	headSize  = 48
	magic     = 0x31524750 // "PGR1"
	magicDead = 0x58524750 // "PGRX"
	magicVoid = 0x30524750 // "PGR0"
	voidSize  = unit
	maxRecord = headSize + MaxMeta + MaxBody
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that bytes are no record.
var errTorn = errors.New("no whole record")

// spot is where a record is written: what ties it to its place.
type spot struct {
	store, segment uint64
	off            int64
}

// length returns what a record takes on disk, in bytes.
func length(meta, body int) int64 {
	return (headSize + int64(meta) + int64(body) + unit - 1) / unit * unit
}

// appendRecord encodes a record.
func appendRecord(b []byte, h *head, meta, body []byte, at spot) []byte {
	start := len(b)
	h.metaLen, h.bodyLen, h.bodyCRC = len(meta), len(body), crc32.Checksum(body, castagnoli)
	b = append(b, make([]byte, headSize)...)
	p := b[start:]
	le := binary.LittleEndian
	le.PutUint32(p, magic)
	copy(p[8:24], h.key[:])
	le.PutUint64(p[24:], h.seq)
	le.PutUint32(p[32:], uint32(h.bodyLen))
	le.PutUint32(p[36:], h.bodyCRC)
	le.PutUint32(p[40:], uint32(h.metaLen))
	p[44] = byte(h.class)
	b = append(b, meta...)
	le.PutUint32(b[start+4:], headCRC(b[start:], at))
	b = append(b, body...)
	for len(b)%unit != start%unit {
		b = append(b, 0)
	}
	return b
}

// headCRC is the checksum of a head with its meta part, which p is long enough for.
func headCRC(p []byte, at spot) uint32 {
	metaLen := binary.LittleEndian.Uint32(p[40:])
	return crc32.Checksum(p[8:headSize+metaLen], castagnoli) ^ at.sum()
}

// sum is what a place adds to a checksum.
func (at spot) sum() uint32 { return uint32(mix(at.store ^ mix(at.segment^mix(uint64(at.off))))) }

// mix is the finaliser of SplitMix64. It makes places that differ a little differ a lot.
func mix(x uint64) uint64 {
	x = (x ^ x>>30 ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// appendVoid encodes what stands before n bytes that are no record, where there was one or should have been one: magic 4 | CRC-32C 4 | n 8 | zero. With it a
// walk goes on behind them, and damage can be told from what was given up or erased.
func appendVoid(b []byte, n int64, at spot) []byte {
	start := len(b)
	b = append(b, make([]byte, voidSize)...)
	p := b[start:]
	binary.LittleEndian.PutUint32(p, magicVoid)
	binary.LittleEndian.PutUint64(p[8:], uint64(n))
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(p[8:], castagnoli)^at.sum())
	return b
}

// parseVoid returns how many bytes the void at the beginning of p takes, 0 if there is none.
func parseVoid(p []byte, at spot) int64 {
	le := binary.LittleEndian
	if len(p) < voidSize || le.Uint32(p) != magicVoid || le.Uint32(p[4:]) != crc32.Checksum(p[8:voidSize], castagnoli)^at.sum() {
		return 0
	}
	n := le.Uint64(p[8:])
	if n%unit != 0 || n > maxSegment {
		return 0
	}
	return int64(n)
}

// sizes reads the lengths of the record that p begins with, if it begins with one at all. They are not proved before parseHead has seen the meta part.
func sizes(p []byte) (meta, body int, ok bool) {
	if len(p) < headSize {
		return 0, 0, false
	}
	m := binary.LittleEndian.Uint32(p)
	b, n := binary.LittleEndian.Uint32(p[32:]), binary.LittleEndian.Uint32(p[40:])
	return int(n), int(b), (m == magic || m == magicDead) && b <= MaxBody && n <= MaxMeta && p[44] <= byte(Bodies)
}

// parseHead reads and checks the head at the beginning of p, which must have the meta part too.
func parseHead(p []byte, at spot) (head, error) {
	meta, body, ok := sizes(p)
	if !ok || len(p) < headSize+meta || binary.LittleEndian.Uint32(p[4:]) != headCRC(p, at) {
		return head{}, errTorn
	}
	return head{
		key: Key(p[8:24]), seq: binary.LittleEndian.Uint64(p[24:]), bodyLen: body, bodyCRC: binary.LittleEndian.Uint32(p[36:]),
		metaLen: meta, class: Class(p[44]), dead: binary.LittleEndian.Uint32(p) == magicDead,
	}, nil
}

// listed is an entry of a footer: what a start has to know of a record. On disk, little endian: tag 8 | number 8 | offset in units 4 |
// length in units 2 | class 1 | fate 1.
type listed struct {
	tag, seq uint64
	off      uint32
	length   uint16
	class    Class
	fate     fate
}

// fate says what has become of a record that was listed.
type fate uint8

const (
	stored fate = iota
	erased      // the place is a void
	failed      // the write failed: part of the record may be there, and it must not count
)

const (
	listedSize  = 24
	trailerSize = 64
	trailMagic  = 0x31464750 // "PGF1"
)

// appendFooter encodes the records of a segment and the trailer, which is the end of a sealed segment: magic 4 | CRC-32C 4 | store 8 | segment 8 |
// records 8 | end of the last record 8 | zero. The checksum is of all the rest.
func appendFooter(b []byte, list []listed, end int64, storeID, segID uint64) []byte {
	start := len(b)
	le := binary.LittleEndian
	for _, e := range list {
		b = le.AppendUint64(b, e.tag)
		b = le.AppendUint64(b, e.seq)
		b = le.AppendUint32(b, e.off)
		b = le.AppendUint16(b, e.length)
		b = append(b, byte(e.class), byte(e.fate))
	}
	at := len(b)
	b = append(b, make([]byte, trailerSize)...)
	p := b[at:]
	le.PutUint32(p, trailMagic)
	le.PutUint64(p[8:], storeID)
	le.PutUint64(p[16:], segID)
	le.PutUint64(p[24:], uint64(len(list)))
	le.PutUint64(p[32:], uint64(end))
	le.PutUint32(p[4:], footerCRC(b[start:at], p))
	return b
}

func footerCRC(list, trailer []byte) uint32 {
	return crc32.Update(crc32.Checksum(list, castagnoli), castagnoli, trailer[8:])
}

// parseTrailer returns how many records the footer before the trailer p lists.
func parseTrailer(p []byte, storeID, segID uint64) (n int64, end int64, ok bool) {
	le := binary.LittleEndian
	if len(p) != trailerSize || le.Uint32(p) != trailMagic || le.Uint64(p[8:]) != storeID || le.Uint64(p[16:]) != segID {
		return 0, 0, false
	}
	count, last := le.Uint64(p[24:]), le.Uint64(p[32:])
	return int64(count), int64(last), count < 1<<32 && last < 1<<34
}

// parseFooter reads the list of n records before a trailer. An entry that lies outside the records is damage.
func parseFooter(list, trailer []byte) ([]listed, error) {
	le := binary.LittleEndian
	if len(list)%listedSize != 0 || le.Uint32(trailer[4:]) != footerCRC(list, trailer) {
		return nil, errTorn
	}
	end := le.Uint64(trailer[32:])
	out := make([]listed, 0, len(list)/listedSize)
	for ; len(list) > 0; list = list[listedSize:] {
		e := listed{
			tag: le.Uint64(list), seq: le.Uint64(list[8:]), off: le.Uint32(list[16:]), length: le.Uint16(list[20:]), class: Class(list[22]), fate: fate(list[23]),
		}
		if e.class > Bodies || e.fate > failed || e.off == 0 || uint64(e.off)*unit+uint64(e.length)*unit > end {
			return nil, errTorn
		}
		out = append(out, e)
	}
	return out, nil
}

// A segment begins with a header of 64 bytes: magic 4 | CRC-32C of the next 24 4 | store 8 | segment 8 | log 1 | zero 7 | mark 8 | CRC-32C of it 4 | zero.
const (
	headerSize = 64
	segMagic   = 0x31534750 // "PGS1"
	markAt     = 32
	markSize   = 12
)

// origin is what a header says.
type origin struct {
	store, segment uint64
	log            logID
}

func header(o origin) []byte {
	b := make([]byte, headerSize)
	le := binary.LittleEndian
	le.PutUint32(b, segMagic)
	le.PutUint64(b[8:], o.store)
	le.PutUint64(b[16:], o.segment)
	b[24] = byte(o.log)
	le.PutUint32(b[4:], crc32.Checksum(b[8:markAt], castagnoli))
	copy(b[markAt:], appendMark(nil, 0, o))
	return b
}

// parseHeader reads the beginning of a segment of any store.
func parseHeader(b []byte) (origin, bool) {
	le := binary.LittleEndian
	if len(b) < headerSize || le.Uint32(b) != segMagic || le.Uint32(b[4:]) != crc32.Checksum(b[8:markAt], castagnoli) || b[24] >= byte(logCount) {
		return origin{}, false
	}
	return origin{le.Uint64(b[8:]), le.Uint64(b[16:]), logID(b[24])}, true
}

// appendMark encodes the mark of a segment of names: up to there everything was written and synced once, so what is missing before it is damage and not a crash.
func appendMark(b []byte, mark int64, o origin) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(mark))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[len(b)-8:], castagnoli)^spot{o.store, o.segment, markAt}.sum())
}

// parseMark reads the mark in the header b.
func parseMark(b []byte, o origin) (int64, bool) {
	if len(b) < headerSize {
		return 0, false
	}
	b = b[markAt : markAt+markSize]
	n := binary.LittleEndian.Uint64(b)
	sum := crc32.Checksum(b[:8], castagnoli) ^ spot{o.store, o.segment, markAt}.sum()
	return int64(n), n < 1<<34 && binary.LittleEndian.Uint32(b[8:]) == sum
}
