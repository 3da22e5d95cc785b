package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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

// Save returns the state, for Load after a restart: 4 bytes for each of Config.Ghosts and 2 KiB. What Admit does meanwhile may be in it or not.
func (p *Policy) Save() []byte {
	f := fixed{
		Size: p.size, Slots: int64(len(p.ghosts.slots)), Fresh: p.fresh.Load(), Last: p.last, Pass: p.pass,
		Bar: p.theBar(), Share: p.ProbationShare(), Budget: p.budget, Seen: p.seen, Hits: p.hits,
	}
	b := make([]byte, 0, p.saved())
	b = append(b, magic...)
	b, err := binary.Append(b, binary.LittleEndian, f)
	if err != nil {
		panic("policy: a struct of numbers always encodes: " + err.Error())
	}
	for i := range p.ghosts.slots {
		b = binary.LittleEndian.AppendUint32(b, p.ghosts.slots[i].Load())
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// saved is the length of a saved state.
func (p *Policy) saved() int { return len(magic) + binary.Size(fixed{}) + 4*len(p.ghosts.slots) + 4 }

// Load takes over a state that Save returned. One that is damaged, of another version or of a cache of another size is refused with an error and
// changes nothing; the cache then learns anew, which costs hits and not correctness. Hit, Admit and Reclaim must not run meanwhile.
func (p *Policy) Load(b []byte) error {
	if len(b) != p.saved() {
		return fmt.Errorf("load policy state: %d bytes instead of %d: damaged, or of a cache of another size", len(b), p.saved())
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
		p.ghosts.slots[i].Store(binary.LittleEndian.Uint32(slots[4*i:]))
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
