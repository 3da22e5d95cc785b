package sign

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// NoteKind says what a Note is about.
type NoteKind byte

// The kinds of notes.
const (
	NoteAsk  NoteKind = 1 // its sender asks for the key set of the zone
	NoteNone NoteKind = 2 // the answer to an ask of one who holds no keys of the zone either
)

// Note is a sealed message without keys. On the wire: kind, 1 byte; At in nanoseconds since 1970, 8 bytes; Nonce; the zone in text.
type Note struct {
	Kind  NoteKind
	Zone  string    // canonical
	At    time.Time // when the asker asked
	Nonce [16]byte  // of the asker; an answer repeats it, so that it cannot be one to an earlier asking
}

const (
	noteMagic = "PGDNOTE\x01"
	noteHead  = 1 + 8 + 16
	maxNote   = sealHead + noteHead + 255 + 16
)

// IsNote reports whether a message says of itself that it is a Note, not a key set.
func IsNote(message []byte) bool { return bytes.HasPrefix(message, []byte(noteMagic)) }

// SealNote returns a message that carries the note to one node. It is sealed as key sets are: only the recipient can read it, only the sender can have made it.
func SealNote(n Note, from *Identity, to PublicIdentity) ([]byte, error) {
	if err := CheckZone(n.Zone); err != nil {
		return nil, fmt.Errorf("seal a note: %w", err)
	}
	plain := binary.BigEndian.AppendUint64([]byte{byte(n.Kind)}, uint64(n.At.UnixNano()))
	plain = append(append(plain, n.Nonce[:]...), n.Zone...)
	return seal(noteMagic, plain, from, to)
}

// OpenNote reads a message that SealNote made for the node to; its errors are those of Open.
func OpenNote(message []byte, to *Identity, trusted func(PublicIdentity) bool) (Note, PublicIdentity, error) {
	plain, sender, err := unseal(noteMagic, maxNote, message, to, trusted)
	if err != nil {
		return Note{}, sender, err
	}
	if len(plain) < noteHead {
		return Note{}, sender, ErrSealed
	}
	n := Note{Kind: NoteKind(plain[0]), At: time.Unix(0, int64(binary.BigEndian.Uint64(plain[1:9]))), Nonce: [16]byte(plain[9:25]), Zone: string(plain[noteHead:])}
	if n.Kind != NoteAsk && n.Kind != NoteNone || CheckZone(n.Zone) != nil || n.Zone != dns.CanonicalName(n.Zone) {
		return Note{}, sender, ErrSealed
	}
	return n, sender, nil
}
