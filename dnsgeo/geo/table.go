package geo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// The compact table, format 1. Integers are big-endian; a uvarint is that of encoding/binary.
//
//	8 bytes    "PERIGEO1"
//	32 bytes   SHA-256 of everything that follows
//	           one zstd frame of at most 64 MiB when decompressed, holding
//	uvarint    length of the passport, then the passport as JSON
//	uvarint    number P of places, then three columns, numbers starting at 1:
//	             P × 2 bytes country code, two zero bytes when unknown
//	             P × 2 bytes row of the quarter-degree cell, counted from the south pole
//	             P × 2 bytes column of the cell, counted from 180° west
//	           the runs of IPv4, in units of a /24, then those of IPv6, in units of a /48:
//	uvarint      number N of runs, then two columns
//	             N × uvarint, length of the run in units; all together cover the whole space
//	             N × 2 bytes, number of the place, 0 when unknown
//
// Columns, rather than records, because they compress better: neighbouring runs resemble each other in one respect
// at a time.
const (
	tableMagic = "PERIGEO1"
	tableUnit4 = 24
	tableUnit6 = 48
	maxTable   = 64 << 20 // bytes when decompressed
	maxPlaces  = 1<<16 - 1
)

// errDamaged is what every fault inside a table wraps.
var errDamaged = errors.New("the table is damaged")

func isTable(data []byte) bool { return bytes.HasPrefix(data, []byte(tableMagic)) }

// encodeTable writes db, whose places are centres of cells and whose runs are made of whole units.
func encodeTable(w io.Writer, db *DB) (size int, err error) {
	if len(db.places)-1 > maxPlaces {
		return 0, fmt.Errorf("write table: %d places; the format holds %d", len(db.places)-1, maxPlaces)
	}
	passport, err := json.Marshal(newTablePassport(db.passport))
	if err != nil {
		return 0, fmt.Errorf("write table: %w", err)
	}
	b := binary.AppendUvarint(nil, uint64(len(passport)))
	b = append(b, passport...)
	b = appendPlaces(b, db.places[1:])
	b = appendRuns(b, &db.runs.v4, tableUnit4)
	b = appendRuns(b, &db.runs.v6, tableUnit6)
	if len(b) > maxTable {
		return 0, fmt.Errorf("write table: %d bytes; the format holds %d", len(b), maxTable)
	}
	// One thread and one level: the same data always gives the same bytes.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return 0, fmt.Errorf("write table: %w", err)
	}
	defer z.Close()
	packed := z.EncodeAll(b, nil)
	sum := sha256.Sum256(packed)
	for _, part := range [][]byte{[]byte(tableMagic), sum[:], packed} {
		n, err := w.Write(part)
		size += n
		if err != nil {
			return size, fmt.Errorf("write table: %w", err)
		}
	}
	return size, nil
}

func appendPlaces(b []byte, places []Place) []byte {
	b = binary.AppendUvarint(b, uint64(len(places)))
	for _, p := range places {
		if p.Country == "" {
			b = append(b, 0, 0)
		} else {
			b = append(b, p.Country...)
		}
	}
	for _, p := range places {
		b = binary.BigEndian.AppendUint16(b, cellOf(p.Lat, p.Lon).row)
	}
	for _, p := range places {
		b = binary.BigEndian.AppendUint16(b, cellOf(p.Lat, p.Lon).col)
	}
	return b
}

func appendRuns[L uint16 | uint32](b []byte, x *axis[L], unitBits int) []byte {
	b = binary.AppendUvarint(b, uint64(len(x.low)))
	shift := 2*x.half() - unitBits
	var start uint64
	for first := range x.each {
		if first > 0 {
			b = binary.AppendUvarint(b, (first-start)>>shift)
		}
		start = first
	}
	b = binary.AppendUvarint(b, 1<<unitBits-start>>shift)
	for _, n := range x.each {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return b
}

// decodeTable reads a table. It checks everything, and what it allocates is bounded by the length of data.
func decodeTable(data []byte) (*DB, error) {
	head := len(tableMagic) + sha256.Size
	if !isTable(data) || len(data) < head {
		return nil, fmt.Errorf("%w: it does not start with %q", errDamaged, tableMagic)
	}
	if sum := sha256.Sum256(data[head:]); !bytes.Equal(sum[:], data[len(tableMagic):head]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", errDamaged)
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxTable))
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	defer z.Close()
	payload, err := z.DecodeAll(data[head:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	return decodePayload(payload)
}

func decodePayload(b []byte) (*DB, error) {
	r := reader{b: b}
	var t tablePassport
	if passport := r.take(r.count(1)); r.err == nil {
		if err := json.Unmarshal(passport, &t); err != nil {
			return nil, fmt.Errorf("%w: passport: %v", errDamaged, err)
		}
	}
	places := r.places()
	var runs Runs
	readRuns(&r, &runs.v4, tableUnit4, len(places))
	readRuns(&r, &runs.v6, tableUnit6, len(places))
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	return newDB(places, &runs, Passport{Source: t.Source, Licence: t.Licence, Attribution: t.Attribution, Built: t.Built}), nil
}

// reader takes fields off b until the first fault, after which it takes nothing more.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
	}
	r.b = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("cut short")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many elements of at least size bytes follow; there cannot be more than fit in what is left.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail("cut short: %d elements are announced", n)
		return 0
	}
	return int(n)
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail("cut short")
		return nil
	}
	t := r.b[:n]
	r.b = r.b[n:]
	return t
}

func (r *reader) places() []Place {
	n := r.count(6)
	if n > maxPlaces {
		r.fail("%d places", n)
		n = 0
	}
	countries, rows, cols := r.take(2*n), r.take(2*n), r.take(2*n)
	if r.err != nil {
		return nil
	}
	places := make([]Place, 1, n+1)
	names := make(map[[2]byte]string) // one string per country, not per place
	for i := 0; i < 2*n; i += 2 {
		code := [2]byte(countries[i:])
		name, ok := names[code]
		if !ok {
			name = validCountry(string(code[:]))
			names[code] = name
		}
		if name == "" && code != [2]byte{} {
			r.fail("country %q", code)
			return nil
		}
		c := cell{binary.BigEndian.Uint16(rows[i:]), binary.BigEndian.Uint16(cols[i:])}
		if c.row >= cellRows || c.col >= cellCols {
			r.fail("cell %d, %d", c.row, c.col)
			return nil
		}
		lat, lon := c.centre()
		places = append(places, Place{Country: name, Lat: lat, Lon: lon, Known: true})
	}
	return places
}

// readRuns reads the runs of one family into x.
func readRuns[L uint16 | uint32](r *reader, x *axis[L], unitBits, places int) {
	n := r.count(3)
	lengths := reader{b: r.b}
	for range n {
		r.uvarint()
	}
	numbers := r.take(2 * n)
	if r.err != nil {
		return
	}
	x.low, x.num.lo = make([]L, 0, n), make([]uint16, 0, n)
	shift := 2*x.half() - unitBits
	var unit uint64
	for i := range n {
		number := binary.BigEndian.Uint16(numbers[2*i:])
		length := lengths.uvarint()
		end, carry := bits.Add64(unit, length, 0)
		if length == 0 || carry != 0 || end > 1<<unitBits || int(number) >= places {
			r.fail("run %d", i)
			return
		}
		x.push(unit<<shift, uint32(number))
		unit = end
	}
	if unit != 1<<unitBits {
		r.fail("the runs do not cover the address space")
		return
	}
	x.done = true
	x.finish()
}
