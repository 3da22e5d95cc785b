package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is a page of a real Chromium with a profile of its own.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// newBrowser starts Chromium; a machine without one skips the test.
func newBrowser(t *testing.T, flags ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no Chromium: install the package chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 900),
	)
	ctx, cancelAll := chromedp.NewExecAllocator(context.Background(), append(opts, flags...)...)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() { cancel(); cancelAll() })
	// The first use of a context starts the browser, which ends with that very context: not with one of a single step.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return &browser{t, ctx}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, long)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// js returns the value of an expression as text, "" while the page is not there.
func (b *browser) js(expr string) string {
	ctx, cancel := context.WithTimeout(b.ctx, long)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expr+")"))
	if err != nil {
		return ""
	}
	return v
}

func (b *browser) wait(d time.Duration, expr string) {
	b.t.Helper()
	for end := time.Now().Add(d); b.js("Boolean("+expr+")") != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("the page never came to %s; it shows:\n%s", expr, b.js("document.body.innerText"))
		}
	}
}

// picture writes what the window shows into the file that $E2E_PICTURE names, if it names one: the README's picture.
func (b *browser) picture() {
	file := os.Getenv("E2E_PICTURE")
	if file == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// TestBrowserUpload uploads through the console of the real system, finds the link the console shows and opens it, in the same
// browser, at the edge that DNS chose.
func TestBrowserUpload(t *testing.T) {
	s := up(t)
	for i, name := range []string{"/css/site.css", "/img/logo.svg", "/index.html"} { // so that the picture has something to show
		put(t, s, name, []byte(strings.Repeat("x", 400*(i+1))), "?wait=5s")
	}
	addr := chosen(t, s, "udp", places[0].network)
	host, _, _ := strings.Cut(addr, ":")
	b := newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP www.perigee.test "+host))
	dir := t.TempDir()
	files := map[string]string{"hello world.txt": "Hello from the browser.\n", "你好.txt": "你好\n", "empty.txt": ""}
	var paths []string
	for name, body := range files {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	b.do(chromedp.Navigate(s.URL("/")))
	b.wait(long, `document.body.dataset.ready !== undefined`)
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file-input"), paths))
	b.wait(long, `document.querySelectorAll('.upload-item[data-state="done"]').length === 3`)
	b.picture()
	links := strings.Fields(b.js(`[...document.querySelectorAll('.upload-item a[href*="/hello%20world.txt"]')].map(a => a.href).join(" ")`))
	if len(links) == 0 {
		t.Fatalf("the console shows no link:\n%s", b.js("document.body.innerText"))
	}
	b.do(chromedp.Navigate(links[0]))
	if got := b.js("document.body.innerText"); strings.TrimSpace(got) != "Hello from the browser." {
		t.Errorf("the edge serves %q at %s", got, links[0])
	}
	if a := fetchOK(t, addr, s.siteURL("/%E4%BD%A0%E5%A5%BD.txt")); string(a.Body) != files["你好.txt"] {
		t.Errorf("%q", a.Body)
	}
}

// TestBrowserUploadSurvivesKill9 kills every process of the system in the middle of a large upload and starts it again: the
// page goes on by itself, from where the server has it, and the edge serves the right bytes. E2E_UPLOAD_MB sets the size.
func TestBrowserUploadSurvivesKill9(t *testing.T) {
	mb := 96
	if v, err := strconv.Atoi(os.Getenv("E2E_UPLOAD_MB")); err == nil {
		mb = v
	}
	api, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s := up(t, "api.listen="+api)
	file := filepath.Join(t.TempDir(), "large.bin")
	want := randomFile(t, file, int64(mb)<<20+12345)
	b := newBrowser(t)
	b.do(chromedp.Navigate(s.URL("/")))
	b.wait(long, `document.body.dataset.ready !== undefined`)
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{file}))
	b.wait(long, `document.querySelector('.upload-item progress')?.value > 0.15 * document.querySelector('.upload-item progress')?.max`)
	if b.js(`document.querySelector('.upload-item').dataset.state`) == "done" {
		t.Fatal("the upload was over before the crash: give it more bytes")
	}
	if err := s.Kill(within(t, long)); err != nil {
		t.Fatal(err)
	}
	start(t, s)
	b.wait(10*time.Minute, `document.querySelector('.upload-item[data-state="done"]')`)
	req, _ := http.NewRequest(http.MethodGet, s.siteURL("/large.bin"), nil)
	resp, err := fetchClient(s.Edges["nyc"]).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	if got := hex.EncodeToString(h.Sum(nil)); err != nil || resp.StatusCode != 200 || got != want {
		t.Fatalf("%d, %d bytes, %s, want %s, %v", resp.StatusCode, n, got, want, err)
	}
}

// randomFile writes n random bytes and returns their SHA-256.
func randomFile(t *testing.T, name string, n int64) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<20)
	if _, err := io.CopyN(w, rand.NewChaCha8([32]byte{1}), n); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
