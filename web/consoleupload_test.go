package web

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"perigee/object"
	"perigee/problem"
)

func TestBrowserUploads(t *testing.T) {
	w, _ := newWorld(t, false)
	threeEdges(w)
	b := newBrowser(t, w)
	b.open("/")
	b.shots("upload-empty")
	b.fits()
	b.fill("#directory", "docs/")
	b.click("details.more summary")
	b.fill("#tags", "news")
	b.choose(tempFile(t, "héllo wörld.txt", []byte("hello")), tempFile(t, "empty.bin", nil))
	b.wait(`document.querySelectorAll('#upload-list .upload-item[data-state=done]').length === 2`)
	b.waitText(`[data-path="/docs/héllo wörld.txt"]`, "effective on 3 of 3 edges")

	f, ok := w.get("/docs/héllo wörld.txt")
	if !ok || f.hash != object.HashOf([]byte("hello")) || f.tags != "news" || f.contentType != "text/plain" {
		t.Errorf("published %+v", f)
	}
	if f, ok := w.get("/docs/empty.bin"); !ok || f.size != 0 {
		t.Errorf("the empty file is published as %+v", f)
	}
	url := baseURL + "/docs/h%C3%A9llo%20w%C3%B6rld.txt"
	if got := b.js(`document.querySelector('[data-path="/docs/héllo wörld.txt"] [data-copy=URL]').dataset.text`); got != url {
		t.Errorf("the copy button has %q, want %q", got, url)
	}
	b.click(`[data-path="/docs/héllo wörld.txt"] [data-copy=URL]`)
	b.waitText(`[data-path="/docs/héllo wörld.txt"] [data-copy=URL]`, "Copied")

	b.click("#nav-files")
	b.wait(`document.activeElement.textContent === "Files"`) // the keyboard follows the view
	b.wait(`document.querySelectorAll('#files-table tbody tr[data-path]').length === 2`)
}

func TestBrowserRefusesAndFails(t *testing.T) {
	w, _ := newWorld(t, false)
	w.refuse = &problem.Document{Status: 413, Type: "too-large", Detail: "The file is larger than this site allows."}
	b := newBrowser(t, w)
	b.open("/")
	b.choose(tempFile(t, "big.txt", []byte("hello")))
	b.waitText(`[data-path="/big.txt"]`, "larger than this site allows")
	b.waitText(`[data-path="/big.txt"]`, "Failed")
	b.fill("#directory", "a/../b")
	b.choose(tempFile(t, "x.txt", []byte("hello")))
	b.waitText(`[data-path="/a/../b/x.txt"]`, "the part “..”")
	if b.js(`document.querySelector('[data-path="/a/../b/x.txt"] [data-do=resume]') === null`) != "true" {
		t.Error("a path that can never be used offers to try again")
	}
	b.shots("upload-failed")
	w.pmu.Lock()
	w.refuse = nil
	w.pmu.Unlock()
	b.click(`[data-path="/big.txt"] [data-do=resume]`)
	b.wait(`document.querySelector('[data-path="/big.txt"]').dataset.state === "done"`)
	b.forgive("413")
}

// big is a file that takes several requests.
func big() []byte { return bytes.Repeat([]byte("0123456789abcde\n"), 12<<20/16) }

func TestBrowserSurvivesCutConnections(t *testing.T) {
	w, _ := newWorld(t, false)
	w.cuts = []int64{5 << 20, 10 << 20}
	b := newBrowser(t, w)
	b.open("/")
	b.choose(tempFile(t, "big.bin", big()))
	b.wait(`document.querySelector('[data-path="/big.bin"]').dataset.state === "done"`)
	if f, _ := w.get("/big.bin"); f.hash != object.HashOf(big()) {
		t.Errorf("published %+v", f)
	}
	w.pmu.Lock()
	defer w.pmu.Unlock()
	// Chromium sends a request again by itself when a connection it reused breaks; that one comes to a wrong offset.
	if want := []int64{0, 5 << 20, 10 << 20}; !slices.Equal(slices.Compact(w.offsets), want) {
		t.Errorf("the browser sent from %v, want %v", w.offsets, want)
	}
	b.forgive("net::ERR_")
	b.forgive("409")
}

func TestBrowserPausesAndResumes(t *testing.T) {
	w, _ := newWorld(t, false)
	open := w.hold()
	t.Cleanup(open)
	b := newBrowser(t, w)
	b.open("/")
	b.choose(tempFile(t, "big.bin", big()))
	b.wait(`["sending", "finishing"].includes(document.querySelector('[data-path="/big.bin"]').dataset.state)`)
	b.click(`[data-path="/big.bin"] [data-do=pause]`)
	b.waitText(`[data-path="/big.bin"]`, "Paused")
	open()
	b.click(`[data-path="/big.bin"] [data-do=resume]`)
	b.wait(`document.querySelector('[data-path="/big.bin"]').dataset.state === "done"`)
	if f, _ := w.get("/big.bin"); f.hash != object.HashOf(big()) {
		t.Errorf("published %+v", f)
	}
	b.forgive("409") // the request that was held may take in what had reached it while the new one asks for the offset
}

// TestBrowserGoesOnAfterReload: the page is gone in the middle of a transfer, another one continues it.
func TestBrowserGoesOnAfterReload(t *testing.T) {
	w, _ := newWorld(t, false)
	w.cuts = slices.Repeat([]int64{7 << 20}, 1000) // no second request gets further than the first
	b := newBrowser(t, w)
	b.open("/")
	file := tempFile(t, "big.bin", big())
	b.choose(file)
	b.waitText(`[data-path="/big.bin"]`, "Connection lost")
	b.shots("upload-retrying")
	b.click(`[data-path="/big.bin"] [data-do=pause]`) // else the browser asks whether to leave
	w.pmu.Lock()
	w.cuts, w.offsets = nil, nil
	w.pmu.Unlock()
	b.open("/")
	b.waitText("#interrupted", "/big.bin")
	b.shots("upload-interrupted")
	b.choose(file)
	b.wait(`document.querySelector('.upload-item[data-path="/big.bin"]')?.dataset.state === "done"`)
	b.waitText(`.upload-item[data-path="/big.bin"]`, "continued at")
	if b.js(`document.querySelector("#interrupted") === null`) != "true" {
		t.Error("a finished upload still stands among the unfinished")
	}
	if f, _ := w.get("/big.bin"); f.hash != object.HashOf(big()) {
		t.Errorf("published %+v", f)
	}
	w.pmu.Lock()
	defer w.pmu.Unlock()
	if len(w.offsets) != 1 || w.offsets[0] < 7<<20 {
		t.Errorf("the new page sent from %v", w.offsets)
	}
	b.forgive("net::ERR_")
	b.forgive("409")
}

func TestBrowserDiscardsUnfinished(t *testing.T) {
	w, _ := newWorld(t, false)
	open := w.hold()
	t.Cleanup(open)
	b := newBrowser(t, w)
	b.open("/")
	b.choose(tempFile(t, "big.bin", big()))
	b.wait(`["sending", "finishing"].includes(document.querySelector('[data-path="/big.bin"]').dataset.state)`)
	b.click(`[data-path="/big.bin"] [data-do=pause]`)
	b.open("/")
	b.click("#interrupted button")
	b.wait(`document.querySelector("#interrupted") === null`)
	w.pmu.Lock()
	defer w.pmu.Unlock()
	if len(w.uploads) != 0 {
		t.Errorf("%d uploads are left on the server", len(w.uploads))
	}
}

func TestBrowserTakesDroppedFolders(t *testing.T) {
	w, _ := newWorld(t, false)
	b := newBrowser(t, w)
	b.open("/")
	dir := filepath.Join(t.TempDir(), "site")
	const many = 250 // a folder is read in portions of a hundred
	for i := range many {
		p := filepath.Join(dir, fmt.Sprintf("d%d", i%3), fmt.Sprintf("f%03d.txt", i))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, fmt.Appendf(nil, "file %d", i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	box := strings.Split(b.js(`(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector("#drop-zone").getBoundingClientRect())`), ",")
	var x, y float64
	if _, err := fmt.Sscan(box[0]+" "+box[1], &x, &y); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []input.DispatchDragEventType{"dragEnter", "dragOver", "drop"} {
		_, err := chromedp.Call(b.ctx, input.DispatchDragEvent, input.DispatchDragEventParams{
			Type: kind, X: x, Y: y, Data: &input.DragData{Items: []*input.DragDataItem{}, Files: []string{dir, tempFile(t, "single.txt", []byte("one"))}, DragOperationsMask: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		if kind == "dragOver" {
			b.wait(`document.querySelector("#drop-zone").classList.contains("over")`)
		}
	}
	b.waitText("#queue-h", "251 of 251 files done")
	if f, ok := w.get("/site/d1/f100.txt"); !ok || f.hash != object.HashOf([]byte("file 100")) {
		t.Errorf("f100 is published as %+v", f)
	}
	if _, ok := w.get("/single.txt"); !ok {
		t.Error("the single file is missing")
	}
	if n := b.js(`document.querySelectorAll(".upload-item").length`); n != "200" {
		t.Errorf("%s rows are drawn of a long queue", n)
	}
}
