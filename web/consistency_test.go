package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// telling has every answer to a change tell a new token, as a server does whose catalogue has replicas; world.mu guards it.
type telling struct {
	tokens int
	sent   []string // with the questions for a listing of files, since a test looked last
}

// tell is the middleware of world.telling.
func (w *world) tell(c *gin.Context) {
	w.mu.Lock()
	defer c.Next()
	defer w.mu.Unlock()
	t := w.telling
	if t == nil || !strings.HasPrefix(c.Request.URL.Path, "/api/") {
		return
	}
	got := c.GetHeader("Perigee-Consistency")
	switch {
	case c.Request.Method != http.MethodGet:
		t.tokens++
		c.Header("Perigee-Consistency", fmt.Sprintf("t%d", t.tokens))
	case strings.HasSuffix(c.Request.URL.Path, "/files"):
		t.sent = append(t.sent, got)
		c.Header("Perigee-Consistency", strings.ReplaceAll(got, ", ", "-"))
	}
}

// listedWith returns what the last listing since the last call was sent with, and whether there was one.
func (w *world) listedWith() (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.telling.sent
	w.telling.sent = nil
	if len(sent) == 0 {
		return "", false
	}
	return sent[len(sent)-1], true
}

// TestBrowserReadsWhatItWrote: what an answer told of the catalogue is sent with the next listing, after an upload, after a deletion, and after a reload.
func TestBrowserReadsWhatItWrote(t *testing.T) {
	w, _ := newWorld(t, false)
	threeEdges(w)
	w.telling = &telling{}
	b := newBrowser(t, w)
	b.open("/")
	b.choose(tempFile(t, "a.txt", []byte("hello")))
	b.wait(`document.querySelectorAll('#upload-list .upload-item[data-state=done]').length === 1`)
	b.click("#nav-files")
	b.wait(`document.querySelectorAll('#files-table tbody tr[data-path]').length === 1`)
	after, listed := w.listedWith()
	if !listed || !strings.HasPrefix(after, "t") {
		t.Errorf("the listing after an upload is sent with %q", after)
	}
	b.click(`[data-path="/a.txt"] [data-do=delete]`)
	b.click("#confirm-yes")
	b.wait(`document.querySelectorAll('#files-table tbody tr[data-path]').length === 0`)
	deleted, listed := w.listedWith()
	if !listed || deleted == after {
		t.Errorf("the listing after a deletion is sent with %q, the one before with %q", deleted, after)
	}
	b.open("/#files")
	b.js(`location.reload()`)
	b.wait(`document.body.dataset.ready !== undefined && document.querySelector("#prefix") !== null`)
	b.fill("#prefix", "/none")
	b.waitText("main", "No file begins with “/none”")
	if again, listed := w.listedWith(); !listed || again == "" {
		t.Errorf("after a reload the listing is sent with %q", again)
	}
}
