package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/object"
)

// TestTreeSurvivesKill9 puts a real tree, fetches every file through the edge that DNS chose for three places, twice,
// kills every process and does it again. E2E_TREE=full takes the whole of src and test of the Go
// distribution (`make demo`); otherwise one folder of it.
func TestTreeSurvivesKill9(t *testing.T) {
	roots := []string{"src/net"}
	if os.Getenv("E2E_TREE") == "full" {
		roots = []string{"src", "test"}
	}
	goroot := goRoot(t)
	s := up(t)
	want := map[object.Path][sha256.Size]byte{}
	for _, root := range roots {
		dir := filepath.Join(goroot, root)
		began := time.Now()
		if _, err := s.Perigee(within(t, 20*time.Minute), "put", dir, "www:/"+root); err != nil {
			t.Fatal(err)
		}
		n := hashTree(t, dir, root, want)
		t.Logf("put %d files of %s in %v", n, root, time.Since(began).Round(time.Millisecond))
	}
	fetchAll(t, s, want, "first fetch", false)
	fetchAll(t, s, want, "second fetch", true)
	if err := s.Kill(within(t, long)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	start(t, s)
	t.Logf("ready %v after kill -9", time.Since(began).Round(time.Millisecond))
	eventually(t, "every edge follows the log again", func() bool {
		for _, addr := range s.Edges {
			a, err := Fetch(within(t, long), addr, s.siteURL("/"+roots[0]+"/net.go"))
			if err != nil || a.Status/100 == 5 {
				return false
			}
		}
		return true
	})
	waitLeases(t, s)
	fetchAll(t, s, want, "after kill -9", true)
	// Nothing is sent again, because the catalogue still knows every file.
	for _, root := range roots {
		out, err := s.Perigee(within(t, 20*time.Minute), "put", "--json", filepath.Join(goroot, root), "www:/"+root)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("put again: %.200s", out)
	}
}

// goRoot is where the Go distribution is.
func goRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// hashTree records the hash of every file below dir.
func hashTree(t *testing.T, dir, root string, want map[object.Path][sha256.Size]byte) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want[object.Path("/"+root+"/"+filepath.ToSlash(rel))] = sha256.Sum256(b)
		n++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fetchAll fetches every file for every place and compares hashes; hits demands that each is answered from the cache.
func fetchAll(t *testing.T, s *System, want map[object.Path][sha256.Size]byte, what string, hits bool) {
	t.Helper()
	began := time.Now()
	var wrong, misses, done atomic.Int64
	for _, place := range places {
		addr := chosen(t, s, "udp", place.network)
		if addr != s.Edges[place.edge] {
			t.Fatalf("%s is sent to %s", place.network, addr)
		}
		paths := make(chan object.Path)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for p := range paths {
					a, err := Fetch(context.Background(), addr, s.siteURL(p.Escape()))
					got := sha256.Sum256(a.Body)
					if err != nil || a.Status != 200 || got != want[p] {
						if wrong.Add(1) < 5 {
							t.Errorf("%s: %s from %s: %d %s %s %v", what, p, place.edge, a.Status, a.Header.Get("Cache-Status"), hex.EncodeToString(got[:4]), err)
						}
					}
					if !isHit(a) && misses.Add(1) < 5 && hits {
						t.Errorf("%s: %s from %s is no hit: %s", what, p, place.edge, a.Header.Get("Cache-Status"))
					}
					done.Add(1)
				}
			})
		}
		for p := range want {
			paths <- p
		}
		close(paths)
		wg.Wait()
	}
	t.Logf("%s: %d fetches, %d wrong, %d misses in %v", what, done.Load(), wrong.Load(), misses.Load(), time.Since(began).Round(time.Millisecond))
	if int(done.Load()) != len(want)*len(places) || wrong.Load() > 0 || hits && misses.Load() > 0 {
		t.Fatalf("%s failed", what)
	}
}
