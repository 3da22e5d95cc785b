package keys

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
)

// handClock is a clock whose hands the test moves.
type handClock struct {
	clock.Clock

	mu  sync.Mutex
	now time.Time
}

func newHandClock() *handClock {
	return &handClock{Clock: clock.System, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func openRing(t *testing.T, c Config) *Ring {
	t.Helper()
	r, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func create(t *testing.T, r *Ring, scopes ...Scope) (string, Key) {
	t.Helper()
	key, k, err := r.Create(t.Context(), NewKey{Name: "test", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return key, k
}

func TestKeyIsStoredOnlyAsItsHash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deep", "keys.json")
	r := openRing(t, Config{File: file})
	if !r.Empty() {
		t.Fatal("a ring without a file is not empty")
	}
	key, k := create(t, r, ScopePublish)
	if !strings.HasPrefix(key, "pk_"+k.ID+"_") || len(key) != 3+10+1+52 {
		t.Fatalf("key %q", key)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if secret := key[14:]; strings.Contains(string(b), secret) {
		t.Fatal("the file holds the secret itself")
	}
	if fi, _ := os.Stat(file); fi.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", fi.Mode())
	}
	for _, ring := range []*Ring{r, openRing(t, Config{File: file})} {
		id, err := ring.Check(key)
		if err != nil || id.ID != k.ID || !id.May(ScopePublish) || !id.May(ScopeRead) || id.May(ScopePurge) || id.May(ScopeAdmin) {
			t.Fatalf("%+v, %v", id, err)
		}
	}
}

func TestKeysAreRandom(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id, key := newKey()
		if got, ok := idOf(key); !ok || got != id || seen[key] || seen[id] {
			t.Fatalf("key %q id %q", key, id)
		}
		seen[key], seen[id] = true, true
	}
}

func TestCheckRefuses(t *testing.T) {
	r := openRing(t, Config{File: filepath.Join(t.TempDir(), "keys.json")})
	key, _ := create(t, r, ScopeAdmin)
	other, _ := create(t, r, ScopeAdmin)
	last := byte('0')
	if key[len(key)-1] == '0' {
		last = '1'
	}
	for _, bad := range []string{
		"", "pk_", "pk__", key[:len(key)-1], key + "0", key[:len(key)-1] + string(last), strings.ToUpper(key), " " + key,
		key[:14] + other[14:], strings.Repeat("x", 100_000), "pk_\x00",
	} {
		if _, err := r.Check(bad); !errors.Is(err, ErrUnknown) {
			t.Errorf("Check(%.80q) = %v, want ErrUnknown", bad, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	c := newHandClock()
	r := openRing(t, Config{File: filepath.Join(t.TempDir(), "keys.json"), Clock: c})
	key, _, err := r.Create(t.Context(), NewKey{Name: "short", Expires: c.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour - time.Second)
	if _, err := r.Check(key); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Second)
	if _, err := r.Check(key); !errors.Is(err, ErrExpired) {
		t.Fatalf("got %v, want ErrExpired", err)
	}
	if r.Empty() {
		t.Fatal("a ring whose only key expired counts as empty: the door would open")
	}
	if _, _, err := r.Create(t.Context(), NewKey{Name: "late", Expires: c.Now()}); err == nil {
		t.Fatal("a key that is expired at birth was made")
	}
}

func TestCreateRefuses(t *testing.T) {
	r := openRing(t, Config{File: filepath.Join(t.TempDir(), "keys.json")})
	for _, tc := range []struct {
		name   string
		scopes []Scope
	}{{"", []Scope{ScopeRead}}, {" \t", []Scope{ScopeRead}}, {"a\nb", []Scope{ScopeRead}}, {strings.Repeat("n", 201), []Scope{ScopeRead}}, {"x", []Scope{"root"}}} {
		if _, _, err := r.Create(t.Context(), NewKey{Name: tc.name, Scopes: tc.scopes}); err == nil {
			t.Errorf("Create(%q, %v) succeeded", tc.name, tc.scopes)
		}
	}
	if _, _, err := openRing(t, Config{}).Create(t.Context(), NewKey{Name: "x"}); err == nil {
		t.Error("a ring without a file made a key")
	}
}

func TestOtherProcessesChangesAreSeen(t *testing.T) {
	c := newHandClock()
	file := filepath.Join(t.TempDir(), "keys.json")
	server, tool := openRing(t, Config{File: file, Clock: c}), openRing(t, Config{File: file, Clock: c})
	key, k := create(t, tool, ScopeRead)
	if _, err := server.Check(key); err == nil {
		t.Fatal("the file was looked at again within a second")
	}
	c.advance(lookEvery)
	if _, err := server.Check(key); err != nil {
		t.Fatal(err)
	}
	if err := tool.Revoke(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	c.advance(lookEvery)
	if _, err := server.Check(key); !errors.Is(err, ErrUnknown) {
		t.Fatalf("revoked key: %v", err)
	}
	if err := tool.Revoke(t.Context(), k.ID); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("second revoke: %v", err)
	}
}

func TestBrokenOrLostFileKeepsTheKeys(t *testing.T) {
	c := newHandClock()
	file := filepath.Join(t.TempDir(), "keys.json")
	r := openRing(t, Config{File: file, Clock: c})
	key, _ := create(t, r, ScopeRead)
	for _, hurt := range []func() error{
		func() error { return os.WriteFile(file, []byte(`{"format":1,"keys":[{`), 0o600) },
		func() error { return os.Remove(file) },
	} {
		if err := hurt(); err != nil {
			t.Fatal(err)
		}
		c.advance(lookEvery)
		if _, err := r.Check(key); err != nil {
			t.Fatal(err)
		}
		if r.Empty() {
			t.Fatal("the ring emptied itself: the door would open")
		}
	}
}

func TestConcurrentChangesAreNotLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	var wg sync.WaitGroup
	for range 4 {
		r := openRing(t, Config{File: file})
		wg.Go(func() {
			for range 5 {
				if _, _, err := r.Create(t.Context(), NewKey{Name: "many"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(openRing(t, Config{File: file}).List()); n != 20 {
		t.Fatalf("%d keys, want 20", n)
	}
}

func TestKeysFromTheEnvironment(t *testing.T) {
	if _, err := Open(Config{Env: []string{"changeme"}}); err == nil || strings.Contains(err.Error(), "changeme") {
		t.Fatalf("short key: %v", err)
	}
	plain := strings.Repeat("0123456789abcdef", 4)
	_, formed := newKey()
	r := openRing(t, Config{Env: []string{plain, formed}})
	for _, key := range []string{plain, formed} {
		id, err := r.Check(key)
		if err != nil || !id.May(ScopeAdmin) {
			t.Fatalf("%+v, %v", id, err)
		}
		if err := r.Revoke(t.Context(), id.ID); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("revoke: %v", err)
		}
	}
	if r.Empty() || len(r.List()) != 2 {
		t.Fatal("environment keys are not counted")
	}
	if _, err := r.Check(plain[:63] + "0"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
}

func TestParseScopes(t *testing.T) {
	got, err := ParseScopes("read, publish,read")
	if err != nil || len(got) != 2 || got[0] != ScopeRead || got[1] != ScopePublish {
		t.Fatal(got, err)
	}
	for _, bad := range []string{"", "Admin", "read,,", "root"} {
		if _, err := ParseScopes(bad); err == nil {
			t.Errorf("ParseScopes(%q) succeeded", bad)
		}
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:8080": true, "127.9.8.7:1": true, "[::1]:80": true, "localhost:80": true, "[::ffff:127.0.0.1]:80": true,
		":8080": false, "0.0.0.0:80": false, "[::]:80": false, "192.0.2.1:80": false, "example.org:80": false, "127.0.0.1": false, "localhost.evil:80": false, "": false,
	} {
		if got := Loopback(addr); got != want {
			t.Errorf("Loopback(%q) = %v", addr, got)
		}
		if err := CheckListen(addr, false, "x"); (err == nil) != want {
			t.Errorf("CheckListen(%q) = %v", addr, err)
		}
		if err := CheckListen(addr, true, "x"); err != nil {
			t.Errorf("CheckListen(%q) with keys = %v", addr, err)
		}
	}
	if err := CheckListen(":80", false, "storage"); !strings.Contains(err.Error(), "perigee keys create") || !strings.Contains(err.Error(), "storage") {
		t.Error(err)
	}
}

func FuzzParseKeys(f *testing.F) {
	_, key := newKey()
	k, _ := json.Marshal(Key{ID: key[3:13], Name: "n", Hash: hashOf(key), Scopes: []Scope{ScopeRead}, Limits: Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/a/"}}})
	good, _ := json.Marshal(ringFile{Format: 1, Keys: []json.RawMessage{k}})
	f.Add(good)
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":1,"keys":[{"id":"../../etc","hash":"","scopes":["admin"]}]}`))
	f.Add([]byte(`{"format":1,"keys":[null,{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := parseFile(b)
		if err != nil {
			return
		}
		list, err := parseRecords(records.Keys)
		if err != nil {
			return
		}
		for i := range list {
			if list[i].validate() != nil {
				t.Fatalf("an invalid key was let in: %+v", list[i])
			}
		}
	})
}
