package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
)

// magic begins a saved state; its last byte is the version of the layout.
const magic = "perigee-policy\x00\x01"

// fixed is the part of a saved state before the ghosts; little-endian.
type fixed struct {
	Size, Slots, Fresh int64
	Last               [2]int64
	Pass               [2]float64
	Bar, Share, Budget float64
	Seen, Hits         [classes]float64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Save returns the state, for Load after a restart: SavedSize bytes, in pieces that are good until the next one. Its numbers are those of now. The ghosts are read piece
// by piece, which may happen while other methods run: what Admit does meanwhile may be in it or not.
func (p *Policy) Save() iter.Seq[[]byte] {
	f := fixed{
		Size: p.size, Slots: int64(len(p.ghosts.slots)), Fresh: p.fresh.Load(), Last: p.last, Pass: p.pass,
		Bar: p.theBar(), Share: p.ProbationShare(), Budget: p.budget, Seen: p.seen, Hits: p.hits,
	}
	head, err := binary.Append([]byte(magic), binary.LittleEndian, f)
	if err != nil {
		panic("policy: a struct of numbers always encodes: " + err.Error())
	}
	return func(yield func([]byte) bool) {
		b, sum := head, uint32(0)
		piece := make([]byte, 0, 4*savedAtOnce)
		for slots := p.ghosts.slots; ; {
			sum = crc32.Update(sum, castagnoli, b)
			if !yield(b) {
				return
			}
			if len(slots) == 0 {
				break
			}
			n := min(len(slots), savedAtOnce)
			b = piece[:4*n]
			if p.ghosts.used.Load() {
				for i := range n {
					binary.LittleEndian.PutUint32(b[4*i:], slots[i].Load())
				}
			}
			slots = slots[n:]
		}
		yield(binary.LittleEndian.AppendUint32(nil, sum))
	}
}

// savedAtOnce is how many ghosts are in one piece of a saved state.
const savedAtOnce = 16 << 10

// SavedSize is the length in bytes of a saved state: 4 bytes for each of Config.Ghosts and 2 KiB.
func (p *Policy) SavedSize() int {
	return len(magic) + binary.Size(fixed{}) + 4*len(p.ghosts.slots) + 4
}

// Load takes over a state that Save returned. One that is damaged, of another version or of a cache of another size is refused with an error and
// changes nothing; the cache then learns anew, which costs hits and not correctness. Hit, Admit and Reclaim must not run meanwhile.
func (p *Policy) Load(b []byte) error {
	if len(b) != p.SavedSize() {
		return fmt.Errorf("load policy state: %d bytes instead of %d: damaged, or of a cache of another size", len(b), p.SavedSize())
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if !bytes.HasPrefix(body, []byte(magic)) || crc32.Checksum(body, castagnoli) != sum {
		return errors.New("load policy state: damaged, or of another version")
	}
	var f fixed
	n, err := binary.Decode(body[len(magic):], binary.LittleEndian, &f)
	if err != nil {
		return fmt.Errorf("load policy state: %w", err)
	}
	if f.Size != p.size || f.Slots != int64(len(p.ghosts.slots)) {
		return fmt.Errorf("load policy state: of a cache of %d bytes with %d ghosts, not of %d with %d", f.Size, f.Slots, p.size, len(p.ghosts.slots))
	}
	if !f.sane() {
		return errors.New("load policy state: numbers out of range")
	}
	p.fresh.Store(f.Fresh)
	p.last, p.pass, p.budget, p.seen, p.hits = f.Last, f.Pass, f.Budget, f.Seen, f.Hits
	p.setBar(f.Bar)
	p.share.Store(math.Float64bits(f.Share))
	p.judge()
	slots := body[len(magic)+n:]
	for i := range p.ghosts.slots {
		if e := binary.LittleEndian.Uint32(slots[4*i:]); e != 0 || p.ghosts.used.Load() {
			p.ghosts.used.Store(true)
			p.ghosts.slots[i].Store(e)
		}
	}
	return nil
}

// sane tells whether every number is in the range that Reclaim keeps it in: a checksum does not protect from a state that was made by hand.
func (f *fixed) sane() bool {
	ok := f.Fresh >= 0 && f.Bar >= minBar && f.Bar <= maxBar && f.Share >= probShare && f.Share <= maxShare && f.Budget >= -1 && f.Budget <= float64(f.Size)
	for i := range f.Last {
		ok = ok && f.Last[i] >= 0 && f.Last[i] <= f.Fresh && f.Pass[i] >= 0 && f.Pass[i] < 1e18
	}
	for i := range f.Seen {
		ok = ok && f.Seen[i] >= 0 && f.Seen[i] < 1e18 && f.Hits[i] >= 0 && f.Hits[i] < 1e18
	}
	return ok
}
