package e2e

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// erased is the API's answer to an order to erase.
type erased struct {
	ID            string
	Versions      int
	Blobs         int
	KeptElsewhere int `json:"kept_elsewhere"`
	Unfinished    int
	Effective     bool
	Edges         []struct {
		Node    string
		Applied bool
	}
}

// pending returns the edges that have not applied it.
func (e *erased) pending() (names []string) {
	for _, n := range e.Edges {
		if !n.Applied {
			names = append(names, n.Node)
		}
	}
	return names
}

// filesWith returns the files below dir that contain text.
func filesWith(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // gone between being listed and being looked at
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(text)) {
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestEraseEverywhere: what is erased is in no file of any edge and not in the storage. An edge that is down is pending, and has it no more when it is back.
func TestEraseEverywhere(t *testing.T) {
	r := startRoles(t)
	s := r.system
	eventually(t, "an edge is in the fleet", func() bool { return r.steered("fra", "nyc", "sin") })
	const mark = "nobody is to read this sentence again. "
	old, body := strings.Repeat("an earlier state: "+mark, 1000), strings.Repeat(mark, 100_000) // the second one has four chunks
	eventually(t, "the API takes files", func() bool { return r.put("/first.txt", "first")/100 == 2 })
	first, _ := put(t, s, "/secret.txt", []byte(old), "?wait=10s")
	u, _ := put(t, s, "/secret.txt", []byte(body), "?wait=10s")
	other, _ := put(t, s, "/public.txt", []byte("everybody may read this"), "?wait=10s")
	for _, addr := range s.Edges {
		eventually(t, "every edge knows the site", func() bool {
			a, err := Fetch(within(t, long), addr, other.URL)
			return err == nil && a.Status == 200
		})
		for _, url := range []string{u.URL, u.URL, u.ImmutableURL, first.ImmutableURL} {
			fetchOK(t, addr, url)
		}
	}
	data := filepath.Join(s.Dir, "data")
	eventually(t, "the bytes on the disks", func() bool { return len(filesWith(t, data, mark)) >= 4 })

	r.kill("sin")
	a := post(t, s, "/api/v1/sites/www/erase", `{"paths":["/secret.txt"]}`)
	var e erased
	if err := json.Unmarshal(a.Body, &e); err != nil || a.Status/100 != 2 {
		t.Fatalf("erase: %d %s", a.Status, a.Body)
	}
	if e.Versions != 2 || e.Blobs != 2 || e.Unfinished != 0 || e.ID == "" {
		t.Errorf("erase: %s", a.Body)
	}
	proof := func() (p erased) {
		a, err := Fetch(within(t, long), s.API, s.URL("/api/v1/purges/"+e.ID))
		if err != nil || a.Status != 200 || json.Unmarshal(a.Body, &p) != nil {
			t.Fatalf("proof: %d %s %v", a.Status, a.Body, err)
		}
		return p
	}
	eventually(t, "two edges to have erased it", func() bool { p := proof(); return slices.Equal(p.pending(), []string{"sin"}) })
	for _, name := range filesWith(t, data, mark) {
		if !strings.Contains(name, "sin") {
			t.Errorf("%s has it still", name)
		}
	}
	for name, addr := range s.Edges {
		if name == "sin" {
			continue
		}
		for url, want := range map[string]int{u.URL: 404, u.ImmutableURL: 410, first.ImmutableURL: 410} {
			if a, err := Fetch(within(t, long), addr, url); err != nil || a.Status != want {
				t.Errorf("%s of %s: %d %v, want %d", url, name, a.Status, err, want)
			}
		}
		fetchOK(t, addr, other.URL)
	}

	if len(filesWith(t, data, mark)) == 0 {
		t.Error("the edge that was killed had nothing to erase")
	}
	r.start("sin")
	eventually(t, "the third edge to have erased it", func() bool { p := proof(); return p.Effective })
	if left := filesWith(t, data, mark); len(left) != 0 {
		t.Errorf("%v have it still", left)
	}
}
