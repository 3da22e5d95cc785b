package sign

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestNotesReachTheirNodeOnly(t *testing.T) {
	from, to := identity(t), identity(t)
	want := Note{Kind: NoteAsk, Zone: "cdn.example.", At: time.Unix(1_800_000_000, 5), Nonce: [16]byte{1, 2}}
	m, err := SealNote(want, from, to.Public())
	if err != nil || !IsNote(m) || bytes.Contains(m, []byte(want.Zone)) {
		t.Fatalf("%q %v", m, err)
	}
	got, sender, err := OpenNote(m, to, anyone)
	if err != nil || sender != from.Public() || got != want {
		t.Errorf("%+v %v %v", got, sender, err)
	}
	if _, _, err := OpenNote(m, to, func(PublicIdentity) bool { return false }); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a sender that is not trusted: %v", err)
	}
	// A note is no key set under another name, nor the other way round: the kind is authenticated.
	if _, _, err := Open(m, to, anyone); !errors.Is(err, ErrSealed) {
		t.Errorf("a note as a set: %v", err)
	}
	if _, _, err := Open(append([]byte(sealMagic), m[len(noteMagic):]...), to, anyone); !errors.Is(err, ErrSealed) {
		t.Errorf("a note renamed to a set: %v", err)
	}
	for i := range m {
		bad := bytes.Clone(m)
		bad[i] ^= 1
		if _, _, err := OpenNote(bad, to, anyone); !errors.Is(err, ErrSealed) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, _, err := OpenNote(m[:i], to, anyone); !errors.Is(err, ErrSealed) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for _, zone := range []string{"", "UPPER.example.", "a/b.", strings.Repeat("a.", 200)} {
		if _, err := SealNote(Note{Kind: NoteAsk, Zone: zone, At: want.At}, from, to.Public()); err == nil {
			t.Errorf("zone %q: no error", zone)
		}
	}
	// What a peer sealed and this version does not know.
	for _, plain := range [][]byte{nil, make([]byte, noteHead), append([]byte{9}, append(make([]byte, noteHead-1), "a.example."...)...)} {
		m, err := seal(noteMagic, plain, from, to.Public())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := OpenNote(m, to, anyone); !errors.Is(err, ErrSealed) {
			t.Errorf("%q: %v", plain, err)
		}
	}
}

func FuzzOpenNote(f *testing.F) {
	from, to := identity(f), identity(f)
	m, err := SealNote(Note{Kind: NoteNone, Zone: "cdn.example.", At: time.Unix(1_800_000_000, 0)}, from, to.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m)
	f.Add(m[:sealHead])
	f.Add([]byte(noteMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, sender, err := OpenNote(b, to, anyone)
		if err == nil && (!bytes.Equal(b, m) || sender != from.Public() || n.Zone != "cdn.example.") {
			t.Errorf("%q was opened: %+v", b, n)
		}
	})
}
