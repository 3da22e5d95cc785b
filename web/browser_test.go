package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take to get where a test waits for it; only a broken page takes that long.
const patience = 60 * time.Second

// browser is a page of a real Chromium with a profile of its own.
type browser struct {
	t   *testing.T
	w   *world
	ctx context.Context

	mu     sync.Mutex
	errors []string // what the page's console complained of
}

// newBrowser starts Chromium, or skips the test where there is none or the console was not built.
func newBrowser(t *testing.T, w *world) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("there is no Chromium: install the package chromium")
	}
	if w.server.assets.script == "" {
		t.Skip("the console is not built: run make console")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 900),
	)
	ctx, cancelAll := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(ctx)
	b := &browser{t: t, w: w, ctx: ctx}
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			if s := m.String(); m.IsException() || strings.Contains(strings.ToLower(s), "error") || strings.Contains(s, "Content Security") {
				b.mu.Lock()
				b.errors = append(b.errors, s)
				b.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			b.shot("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
		}
		cancel()
		cancelAll()
		<-done
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, e := range b.errors {
			t.Errorf("the page complained: %s", e)
		}
	})
	return b
}

// forgive takes back complaints that a test provoked.
func (b *browser) forgive(about string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var rest []string
	for _, e := range b.errors {
		if !strings.Contains(e, about) {
			rest = append(rest, e)
		}
	}
	b.errors = rest
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v; the page shows:\n%s", err, b.text("body"))
	}
}

// open loads a path of the console and waits until the scripts have taken it over.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(b.w.url+path))
	b.wait(`document.body.dataset.ready !== undefined`)
}

// wait waits until a JavaScript expression is true.
func (b *browser) wait(expr string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expr+")"))
		cancel()
		if ok && err == nil {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("the page never came to %s (%v); it shows:\n%s", expr, err, b.text("body"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// js returns the value of a JavaScript expression, as text.
func (b *browser) js(expr string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expr+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

func (b *browser) text(selector string) string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	v, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector(`+quoteJS(selector)+`)?.innerText ?? ""`))
	return v
}

func (b *browser) waitText(selector, part string) {
	b.t.Helper()
	b.wait(`document.querySelector(` + quoteJS(selector) + `)?.innerText.includes(` + quoteJS(part) + `)`)
}

// click clicks what a CSS selector finds, as a mouse does.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// fill replaces the value of a field as typing does.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	b.do(
		chromedp.WaitVisible(chromedp.CSS(selector)),
		chromedp.Evaluate[chromedp.Void](`document.querySelector(`+quoteJS(selector)+`).select()`),
		chromedp.SendKeys(chromedp.CSS(selector), value),
	)
}

func (b *browser) choose(files ...string) {
	b.t.Helper()
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file-input"), files))
}

// shot writes a picture of the whole page into the directory that $PERIGEE_SCREENSHOTS names, if it names one.
func (b *browser) shot(name string) {
	dir := os.Getenv("PERIGEE_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Logf("picture %s: %v", name, err)
	}
}

// shots takes pictures in light and dark, and narrow.
func (b *browser) shots(name string) {
	if os.Getenv("PERIGEE_SCREENSHOTS") == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.shot(name + "-" + scheme)
	}
	b.do(chromedp.EmulateViewport(390, 800))
	b.scheme("light")
	b.shot(name + "-narrow")
	b.do(chromedp.EmulateViewport(1280, 900))
	b.wait(`innerWidth > 1000`)
}

// fits checks at several widths that nothing sticks out of the page or of its card.
func (b *browser) fits() {
	b.t.Helper()
	for _, width := range []int64{1280, 1000, 800, 390, 320} {
		b.do(chromedp.EmulateViewport(width, 900))
		b.wait(fmt.Sprintf(`innerWidth === %d`, width))
		out := b.js(`[document.documentElement, ...document.querySelectorAll("main, .card")].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.tagName + "." + e.className + " " + e.scrollWidth + " > " + e.clientWidth).join(", ")`)
		if out != "" {
			b.t.Errorf("at a width of %d this sticks out: %s", width, out)
		}
	}
	b.do(chromedp.EmulateViewport(1280, 900))
	b.wait(`innerWidth === 1280`)
}

func (b *browser) scheme(scheme string) {
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func quoteJS(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// tempFile writes a file into the test's directory and returns its path.
func tempFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}
