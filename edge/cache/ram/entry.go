package ram

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// An entry in a slab, aligned to 8 bytes: the header, the end of each part (4 bytes, from the start of the entry), the key, the parts.
// The fields without an owner are written before the entry is put into the index, and not again until the slab is reused.
const (
	atHash  = 0
	atStamp = 8 // atomic; the caller's
	atMarks = 16
	atBorn  = 32 // c.misses from which hits count; shard's lock
	atHits  = 40 // uint32, in units of 1/hitUnit; shard's lock
	atSize  = 44 // uint32: bytes of the entry, to the next one
	atKey   = 48 // uint16: bytes of the key
	atParts = 50 // number of parts
	atFate  = 51 // 0, or 1 + hits once the entry is evicted, for OnEvict; c.w, or the Put that retired the slab

	headerSize = 52

	hitUnit = 16 // fractions, so that halving does not lose a single hit at once
)

var order = binary.LittleEndian

// entry is the bytes of a slab from the start of an entry.
type entry []byte

func (e entry) hash() uint64     { return order.Uint64(e[atHash:]) }
func (e entry) size() int        { return int(order.Uint32(e[atSize:])) }
func (e entry) parts() int       { return int(e[atParts]) }
func (e entry) end(i int) int    { return int(order.Uint32(e[headerSize+4*i:])) }
func (e entry) hits() uint32     { return order.Uint32(e[atHits:]) }
func (e entry) born() uint64     { return order.Uint64(e[atBorn:]) }
func (e entry) setHits(n uint32) { order.PutUint32(e[atHits:], n) }

func (e entry) key() []byte {
	from := headerSize + 4*e.parts()
	return e[from : from+int(order.Uint16(e[atKey:]))]
}

func (e entry) stamp() *atomic.Uint64 {
	// A slab begins at 8 bytes and entries follow at multiples of 8. atomic.Uint64 is a uint64 and nothing else.
	return (*atomic.Uint64)(unsafe.Pointer(&e[atStamp]))
}

// sizeOf returns the bytes an entry takes, to the start of the next.
func sizeOf(key []byte, parts [][]byte) int {
	n := headerSize + 4*len(parts) + len(key)
	for _, p := range parts {
		n += len(p)
	}
	return (n + 7) &^ 7
}

// write makes the entry.
func (e entry) write(h uint64, key []byte, stamp, born uint64, hits uint32, marks [2]uint64, parts [][]byte) {
	e.writeHeader(h, stamp, born, hits, marks)
	order.PutUint32(e[atSize:], uint32(sizeOf(key, parts)))
	order.PutUint16(e[atKey:], uint16(len(key)))
	e[atParts] = byte(len(parts))
	at := headerSize + 4*len(parts)
	at += copy(e[at:], key)
	for i, p := range parts {
		at += copy(e[at:], p)
		order.PutUint32(e[headerSize+4*i:], uint32(at))
	}
}

// move makes e a copy of from. Its stamp may be stored to meanwhile, and Views of from do not see e: a stamp stored to them from now on is lost.
func (e entry) move(from entry, born uint64, hits uint32) {
	marks := [2]uint64{order.Uint64(from[atMarks:]), order.Uint64(from[atMarks+8:])}
	e.writeHeader(from.hash(), from.stamp().Load(), born, hits, marks)
	copy(e[atSize:atFate], from[atSize:atFate])
	copy(e[headerSize:from.size()], from[headerSize:])
}

func (e entry) writeHeader(h, stamp, born uint64, hits uint32, marks [2]uint64) {
	order.PutUint64(e[atHash:], h)
	e.stamp().Store(stamp)
	order.PutUint64(e[atMarks:], marks[0])
	order.PutUint64(e[atMarks+8:], marks[1])
	order.PutUint64(e[atBorn:], born)
	e.setHits(hits)
	e[atFate] = 0
}

// View is an entry that was found. Its bytes stay as they are until Release, whatever becomes of the entry. The zero View is none: only Release
// may be called.
type View struct {
	c *Cache
	s *slab
	e uint32
}

func (v View) entry() entry { return entry(v.s.data[v.e:]) }

// Value returns the i-th part given to Put, nil if there were not so many. It must not be written, and is valid until Release. Parts are neighbours:
// Value(1) begins in memory where Value(0) ends, and its capacity ends there too.
func (v View) Value(i int) []byte {
	e := v.entry()
	n := e.parts()
	if i < 0 || i >= n {
		return nil
	}
	from := headerSize + 4*n + int(order.Uint16(e[atKey:]))
	if i > 0 {
		from = e.end(i - 1)
	}
	to := e.end(i)
	return e[from:to:to]
}

// Values returns the parts from i up to and without j as one slice, nil if there are none such; for the rest as Value.
func (v View) Values(i, j int) []byte {
	if i >= j {
		return nil
	}
	from, to := v.Value(i), v.Value(j-1)
	if from == nil || to == nil {
		return nil
	}
	e := v.entry()
	end := e.end(j - 1)
	return e[e.end(i)-len(from) : end : end]
}

// Stamp returns the one word of the entry that may change; Put gave its first value. It is valid until Release. What is stored may be lost, so
// that an older value comes back, if the entry is moved or replaced at that moment.
func (v View) Stamp() *atomic.Uint64 { return v.entry().stamp() }

// Mark returns the i-th word, 0 or 1, given to Put.
func (v View) Mark(i int) uint64 { return order.Uint64(v.entry()[atMarks+8*(i&1):]) }

// Release ends the use of v and of all that it returned. Each View is released once.
func (v View) Release() {
	if v.s != nil {
		v.s.unpin(v.c, 1)
	}
}
