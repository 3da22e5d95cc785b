package sign

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func identity(t testing.TB) *Identity {
	t.Helper()
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func anyone(PublicIdentity) bool { return true }

func TestSealedSetsReachTheirNodeOnly(t *testing.T) {
	from, to, other := identity(t), identity(t), identity(t)
	set := rolling(t)
	m, err := Seal(set, from, to.Public())
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := set.Keys[0].private.Bytes()
	if err != nil || bytes.Contains(m, []byte(set.Zone)) || bytes.Contains(m, scalar) {
		t.Error("the message can be read", err)
	}
	got, sender, err := Open(m, to, func(p PublicIdentity) bool { return p == from.Public() })
	if err != nil || sender != from.Public() || !bytes.Equal(marshal(t, got), marshal(t, set)) {
		t.Fatalf("%v %v", sender, err)
	}
	if _, _, err := Open(m, other, anyone); !errors.Is(err, ErrSealed) {
		t.Errorf("another node: %v", err)
	}
	if _, _, err := Open(m, to, func(p PublicIdentity) bool { return p == other.Public() }); err == nil || errors.Is(err, ErrSealed) {
		t.Errorf("a sender that is not trusted: %v", err)
	}
	for i := range m {
		bad := bytes.Clone(m)
		bad[i] ^= 1
		if _, _, err := Open(bad, to, anyone); !errors.Is(err, ErrSealed) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for i := range m {
		if _, _, err := Open(m[:i], to, anyone); !errors.Is(err, ErrSealed) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, _, err := Open(append(bytes.Clone(m), 0), to, anyone); !errors.Is(err, ErrSealed) {
		t.Error(err)
	}
	// Somebody else cannot speak for a sender: the key depends on both secrets.
	forged, err := Seal(set, other, to.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := from.Public()
	copy(forged[len(sealMagic):], public[:])
	if _, _, err := Open(forged, to, anyone); !errors.Is(err, ErrSealed) {
		t.Errorf("forged: %v", err)
	}
	if _, err := Seal(set, from, PublicIdentity{}); err == nil {
		t.Error("sealed to a point that shares its secret with everybody")
	}
}

func TestIdentityFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node", "identity")
	ids := make([]*Identity, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := LoadIdentity(file)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == nil || id.Public() != ids[0].Public() {
			t.Fatal("not all got the same identity")
		}
	}
	if i, err := os.Stat(file); err != nil || i.Mode().Perm() != 0o600 {
		t.Error(i.Mode(), err)
	}
	if p, err := ParsePublic(ids[0].String()); err != nil || p != ids[0].Public() {
		t.Error(p, err)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(file); err == nil {
		t.Error("a damaged identity was accepted, or replaced")
	}
}

func FuzzOpen(f *testing.F) {
	from, to := identity(f), identity(f)
	m, err := Seal(rolling(f), from, to.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m)
	f.Add(m[:sealHead+16])
	f.Add([]byte(sealMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := Open(b, to, anyone); err == nil && !bytes.Equal(b, m) {
			t.Errorf("a message that nobody sealed was opened: %x", b)
		}
	})
}

func FuzzIdentity(f *testing.F) {
	id := identity(f)
	f.Add(id.Marshal())
	f.Add([]byte(id.String()))
	f.Add([]byte(identityPrefix))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := ParseIdentity(b); err == nil {
			if again, err := ParseIdentity(id.Marshal()); err != nil || again.Public() != id.Public() {
				t.Errorf("%v: %q", err, b)
			}
		}
		if p, err := ParsePublic(string(b)); err == nil && p.String() != string(b) {
			t.Errorf("%q became %q", b, p)
		}
	})
}
