package object

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Slots is how many slots there are. It never changes: rows of the catalogue are stored under their slot.
const Slots = 4096

// Slot is one of the Slots parts that a sharded catalogue is cut into, 0 to 4095. A slot is on one server at a time and
// moves as a whole. (Elsewhere it may be called a hash bucket; here a bucket is S3's.)
type Slot uint16

// SlotOf returns the slot of everything about a path: the first twelve bits of the SHA-256 of site and path, one behind
// the other. A site has no '/' and a path begins with one, so that no two names are hashed alike.
func SlotOf(s Site, p Path) Slot {
	h := sha256.New()
	h.Write([]byte(s))
	h.Write([]byte(p))
	return slotOf(h.Sum(nil))
}

// SlotOfHash returns the slot of everything about a blob: the first twelve bits of its hash.
func SlotOfHash(h Hash) Slot { return slotOf(h[:]) }

// NewUploadID makes the id of an upload to a path out of 16 random bytes. The first three digits become the path's slot, so
// that who has the id finds what belongs to it; with no path they stay random.
func NewUploadID(s Site, p Path, random [16]byte) UploadID {
	if p != "" {
		n := SlotOf(s, p)
		random[0] = byte(n >> 4)
		random[1] = byte(n<<4) | random[1]&15
	}
	return UploadID(hex.EncodeToString(random[:]))
}

func slotOf(sum []byte) Slot { return Slot(binary.BigEndian.Uint16(sum) >> 4) }

// Slot returns the slot of an upload, which is that of its path: its first three digits. It is 0 for an id that
// ParseUploadID would refuse.
func (id UploadID) Slot() Slot {
	if len(id) < 3 {
		return 0
	}
	n, err := strconv.ParseUint(string(id[:3]), 16, 16)
	if err != nil {
		return 0
	}
	return Slot(n)
}
