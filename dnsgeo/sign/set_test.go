package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
)

// rolling returns a set in the middle of a rollover.
func rolling(t testing.TB) *KeySet {
	t.Helper()
	s, err := generate(t, "perigee.test").Roll(epoch.Add(30 * time.Hour))
	if err == nil {
		s, err = s.SeeDS(epoch.Add(31*time.Hour), time.Hour)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func marshal(t testing.TB, s *KeySet) []byte {
	t.Helper()
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSetsSurviveFiles(t *testing.T) {
	b := marshal(t, rolling(t))
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := marshal(t, s); !bytes.Equal(b, again) {
		t.Errorf("%s\nbecame\n%s", b, again)
	}
	for _, x := range []struct{ what, from, to string }{
		{"another format", `"format": 1`, `"format": 2`},
		{"an unknown field", `"format": 1`, `"format": 1, "x": 1`},
		{"no serial", fmt.Sprintf(`"serial": %d`, s.Serial), `"serial": 0`},
		{"another algorithm", `"algorithm": 13`, `"algorithm": 8`},
		{"another key's tag", `"tag": `, `"tag": 1`},
		{"a path for a zone", `"zone": "perigee.test."`, `"zone": "../x.test."`},
		{"an endless TTL", `"max_ttl_s": 86400`, `"max_ttl_s": 9223372036854775807`},
		{"a key that retires before it signs", `"retired": "2026-03-02T`, `"retired": "2026-02-01T`},
		{"a gap between two keys", `"retired": "2026-03-02T`, `"retired": "2026-03-03T`},
	} {
		if !bytes.Contains(b, []byte(x.from)) {
			t.Fatalf("%s: %q is not in\n%s", x.what, x.from, b)
		}
		if _, err := Parse(bytes.Replace(b, []byte(x.from), []byte(x.to), 1)); err == nil {
			t.Errorf("%s was accepted", x.what)
		}
	}
	for _, bad := range [][]byte{nil, []byte("{}"), append(bytes.Clone(b), "{}"...), bytes.Repeat([]byte(" "), maxSet+1)} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%.20q was accepted", bad)
		}
	}
}

// TestSecretsAreNotPrinted: whoever prints a set or a key by mistake prints no private key.
func TestSecretsAreNotPrinted(t *testing.T) {
	s := rolling(t)
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(s); err == nil {
		t.Error("a set was written by encoding/json without being asked to")
	}
	scalar, err := s.Keys[0].private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %s", s.Keys[0], s.Keys, id)
	for _, secret := range []string{fmt.Sprint(scalar), fmt.Sprintf("%x", scalar), strings.TrimPrefix(strings.TrimSpace(string(id.Marshal())), identityPrefix)} {
		if strings.Contains(printed, secret) {
			t.Errorf("%s", printed)
		}
	}
}

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dns", "keys")
	st, err := OpenStore(dir, "Perigee.Test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	set := rolling(t)
	if _, err := st.Change(func(was *KeySet) (*KeySet, error) { return set, nil }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{dir: 0o700, st.File(): 0o600} {
		if i, err := os.Stat(name); err != nil || i.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, i.Mode(), err)
		}
	}
	if filepath.Base(st.File()) != "perigee.test.keys.json" {
		t.Error(st.File())
	}
	if _, err := st.Change(func(*KeySet) (*KeySet, error) { return set, nil }); err == nil {
		t.Error("a set that is not newer was written")
	}
	if _, err := st.Change(func(*KeySet) (*KeySet, error) { return generate(t, "other.test"), nil }); err == nil {
		t.Error("a set of another zone was written")
	}
	for _, x := range []struct {
		set  *KeySet
		kept bool
	}{{set, false}, {generate(t, "perigee.test"), false}} {
		if kept, err := st.Accept(x.set); err != nil || kept != x.kept {
			t.Errorf("serial %d: %v %v", x.set.Serial, kept, err)
		}
	}
	newer, err := set.change(epoch, func(*KeySet) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := st.Accept(newer); err != nil || !kept {
		t.Error(kept, err)
	}
	if _, err := st.Accept(generate(t, "other.test")); err == nil {
		t.Error("a set of another zone was accepted")
	}
	set = newer
	// Changes of many do not get lost.
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := st.Change(func(was *KeySet) (*KeySet, error) { return was.change(epoch, func(*KeySet) error { return nil }) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := st.Load(); err != nil || got.Serial != set.Serial+20 {
		t.Errorf("%+v %v", got, err)
	}
	if err := os.WriteFile(st.File(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Change(func(*KeySet) (*KeySet, error) { t.Error("a damaged file was taken for none"); return set, nil }); err == nil {
		t.Error("a damaged file was replaced")
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		st, err := OpenStore(dir, "perigee.test")
		if err != nil {
			t.Fatal(err)
		}
		first := generate(t, "perigee.test")
		s, err := NewSigner(first, clock.System.Now(), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { st.Follow(ctx, clock.System, slog.New(slog.DiscardHandler), s.Use) })
		second, err := first.Roll(epoch.Add(30 * time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, err := st.Change(func(*KeySet) (*KeySet, error) { return second, nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if s.Keys().Serial != second.Serial {
			t.Error("the new set is not in use")
		}
		if err := os.WriteFile(st.File(), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if s.Keys().Serial != second.Serial {
			t.Error("a damaged file was used")
		}
		if s.Use(first) == nil || s.Use(generate(t, "other.test")) == nil {
			t.Error("an older set, or one of another zone, was used")
		}
		cancel()
		wg.Wait()
	})
}

func FuzzParse(f *testing.F) {
	f.Add(marshal(f, rolling(f)))
	f.Add(marshal(f, generate(f, "a.b")))
	f.Add([]byte(`{"format":1,"zone":"a.","serial":1,"max_ttl_s":1,"keys":[{"tag":1,"algorithm":13,"private":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(marshal(t, s))
		if err != nil || !bytes.Equal(marshal(t, again), marshal(t, s)) {
			t.Errorf("%v: %q", err, b)
		}
		for _, at := range []time.Time{{}, epoch, epoch.Add(1000 * time.Hour)} {
			if n := len(s.In(at, Active)); n > 1 {
				t.Errorf("%d keys are active at %v", n, at)
			}
			s.CDS(at)
			if next, err := s.Roll(at); err == nil {
				if _, err := Parse(marshal(t, next)); err != nil {
					t.Errorf("%v after Roll", err)
				}
			}
		}
	})
}
