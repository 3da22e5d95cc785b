package web

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"perigee/fleet"
	"perigee/object"
)

// threeEdges is the fleet of the first picture.
func threeEdges(w *world) {
	for i, e := range []struct {
		name, place, country string
		lat, lon             float64
	}{{"fra", "Frankfurt", "DE", 50.1, 8.7}, {"nyc", "New York", "US", 40.7, -74}, {"sin", "Singapore", "SG", 1.3, 103.8}} {
		w.report(e.name, func(r *fleet.Report) {
			r.Place = fleet.Place{Name: e.place, Country: e.country, Lat: e.lat, Lon: e.lon}
			r.Addrs = []netip.AddrPort{netip.MustParseAddrPort(fmt.Sprintf("127.0.1.%d:8100", i+1))}
			r.Cache = &fleet.CacheUse{Objects: 1200, Bytes: int64(i+1) * 2_100_000_000, Limit: 10_000_000_000, Hits: 98_000 + int64(i)*300, Misses: 1_400}
			r.Load = fleet.Load{Requests: 120.4 / float64(i+1), Sent: 18_000_000 / float64(i+1), Headroom: 0.8}
		})
	}
	w.report("ns1", func(r *fleet.Report) {
		r.Role, r.Cache = fleet.RoleDNS, nil
		r.Place = fleet.Place{Name: "Frankfurt", Country: "DE", Lat: 50.1, Lon: 8.7}
		r.Load.Requests = 31.2
	})
}

func TestBrowserListsPurgesAndDeletes(t *testing.T) {
	w, _ := newWorld(t, false)
	threeEdges(w)
	w.publish(object.Path("/img/photo-01"+strings.Repeat("-a-very-long-name", 12)+"/"+strings.Repeat("x", 200)+".jpg"), []byte("long"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "")
	for i := range 60 {
		w.publish(object.Path(fmt.Sprintf("/img/photo-%03d.jpg", i)), bytes.Repeat([]byte{byte(i)}, 1000*(i+1)*(i+1)), "image/jpeg", "")
	}
	w.publish("/index.html", []byte("<!doctype html>"), "text/html; charset=utf-8", "")
	w.publish("/文档/报告 2026.pdf", []byte("%PDF"), "application/pdf", "")
	b := newBrowser(t, w)
	b.open("/#files")
	b.wait(`document.querySelectorAll('#files-table tr[data-path]').length === 50`)
	b.click(`nav[aria-label=Pages] button:last-child`)
	b.wait(`document.querySelectorAll('#files-table tr[data-path]').length === 13`)
	b.waitText("nav[aria-label=Pages]", "Page 2")
	b.fill("#prefix", "/i")
	b.wait(`document.querySelectorAll('#files-table tr[data-path]').length === 50`)
	b.fill("#prefix", "/in")
	b.wait(`document.querySelectorAll('#files-table tr[data-path]').length === 1`)
	f, _ := w.get("/index.html")
	for what, want := range map[string]string{"URL": baseURL + "/index.html", "immutable URL": baseURL + "/_perigee/v/" + string(f.version) + "/index.html", "SHA-256": f.hash.String()} {
		if got := b.js(`document.querySelector('[data-path="/index.html"] [data-copy="` + what + `"]').dataset.text`); got != want {
			t.Errorf("copy %s has %q, want %q", what, got, want)
		}
	}

	b.click(`[data-path="/index.html"] [data-do=purge]`)
	b.waitText(".purge-proof", "effective on 3 of 3 edges")
	b.waitText(".purge-proof", "nyc")
	b.shots("files-purged")

	b.click(`[data-path="/index.html"] [data-do=delete]`)
	b.waitText("#confirm", "Delete /index.html?")
	b.shot("files-confirm")
	b.click("#confirm button:first-child")
	b.wait(`document.querySelector("#confirm") === null`)
	if _, ok := w.get("/index.html"); !ok {
		t.Fatal("deleted although the dialog was cancelled")
	}
	b.click(`[data-path="/index.html"] [data-do=delete]`)
	b.click("#confirm-yes")
	b.waitText("main", "No file begins with “/in”")
	if _, ok := w.get("/index.html"); ok {
		t.Error("not deleted")
	}
	// What others do shows up by itself.
	b.fill("#prefix", "/live")
	w.publish("/live/new.txt", []byte("new"), "text/plain", "")
	b.wait(`document.querySelector('#files-table tr[data-path="/live/new.txt"]') !== null`)
	b.fill("#prefix", "/")
	b.wait(`document.querySelectorAll('#files-table tr[data-path]').length === 50`)
	b.fill("#prefix", "/img/photo-01")
	b.wait(`document.querySelectorAll('#files-table tr[data-path]').length === 11`)
	b.shots("files")
	b.fits()
}

func TestBrowserShowsTheFleet(t *testing.T) {
	w, _ := newWorld(t, false)
	threeEdges(w)
	b := newBrowser(t, w)
	b.open("/#fleet")
	b.wait(`document.querySelector("#live-state").dataset.live === "live"`)
	b.wait(`document.querySelectorAll('#fleet-table tr[data-node]').length === 4`)
	b.waitText(`[data-node=fra]`, "ready")

	b.click(`[data-node=fra] [data-do=drain]`)
	b.click("#confirm-yes")
	b.wait(`document.querySelector("[data-node=fra]").dataset.state === "draining"`)
	b.waitText(".figures", "2 of 3")
	w.report("nyc", func(r *fleet.Report) { r.State = fleet.Stopping })
	b.wait(`document.querySelector("[data-node=nyc]").dataset.state === "stopped"`)
	w.slowEdge = "sin"
	w.entry(purgeAll())
	b.waitText(`[data-node=sin]`, "not known")
	w.report("fra", func(r *fleet.Report) { r.Load.Requests = 333.3 })
	b.waitText(`[data-node=fra]`, "333.3")
	b.shots("fleet")
	b.fits()
	b.click(`[data-node=fra] [data-do=undrain]`)
	b.wait(`document.querySelector("[data-node=fra]").dataset.state === "ready"`)
	b.click(`[data-node=nyc] [data-do=forget]`)
	b.click("#confirm-yes")
	b.wait(`document.querySelector("[data-node=nyc]") === null`)

	w.mu.Lock()
	w.refusing["sin"] = errBroken
	w.mu.Unlock()
	b.click(`[data-node=sin] [data-do=drain]`)
	b.click("#confirm-yes")
	b.waitText("main", "Node sin did not confirm")
	b.forgive("502")
}

// TestBrowserPollsWithoutEvents: when live events are not to be had the page asks, and says so.
func TestBrowserPollsWithoutEvents(t *testing.T) {
	w, _ := newWorld(t, false)
	w.server.hub.close()
	w.report("fra", nil)
	b := newBrowser(t, w)
	b.open("/#fleet")
	b.wait(`document.querySelector("#live-state").dataset.live === "polling"`)
	w.report("fra", func(r *fleet.Report) { r.Load.Requests = 444.4 })
	b.waitText(`[data-node=fra]`, "444.4")
	w.http.Config.SetKeepAlivesEnabled(false)
	w.http.Listener.Close()
	w.http.CloseClientConnections()
	b.wait(`document.querySelector("#live-state").dataset.live === "offline"`)
	b.waitText("main", "Perigee did not answer")
	b.forgive("503")
	b.forgive("net::ERR_")
}

func TestBrowserExplains(t *testing.T) {
	w, _ := newWorld(t, false)
	threeEdges(w)
	w.publish("/hello.txt", []byte("hello"), "text/plain", "")
	b := newBrowser(t, w)
	b.open("/#files")
	b.click(`[data-path="/hello.txt"] a.btn`)
	b.wait(`document.querySelector("#explain-path")?.value === "/hello.txt"`)
	b.fill("#explain-ip", "81.2.69.160")
	b.click("#explain-form button[type=submit]")
	b.wait(`document.querySelector("#explain-result")?.dataset.chosen === "fra"`)
	for _, want := range []string{"81.2.69.160 is in London, GB", "DB-IP City Lite", "fra is chosen", "DNS answers A 127.0.1.1", "81.2.69.0/24", "The next request is a hit", "Frankfurt", "640 km"} {
		if want != "Frankfurt" {
			b.waitText("#explain-result", want)
		}
	}
	b.shots("explain")
	b.fits()
	b.fill("#explain-ip", "300.1.1.1")
	b.click("#explain-form button[type=submit]")
	b.waitText("main .note.bad", "no IPv4 or IPv6 address")
	b.forgive("400")
}

func TestBrowserWithoutScripts(t *testing.T) {
	w, _ := newWorld(t, false)
	threeEdges(w)
	w.publish("/earlier.txt", []byte("earlier"), "text/plain", "")
	b := newBrowser(t, w)
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate(w.url+"/"), chromedp.WaitVisible(chromedp.CSS("#plain-form")))
	b.shots("plain")
	b.do(chromedp.EmulateViewport(1280, 900))
	b.do(
		chromedp.SendKeys(chromedp.CSS("#plain-form [name=directory]"), "/plain"),
		chromedp.SetUploadFiles(chromedp.CSS("#plain-form [type=file]"), []string{tempFile(t, "a.txt", []byte("a")), tempFile(t, "b.txt", []byte("b"))}),
		chromedp.Click(chromedp.CSS("#plain-form button")),
		chromedp.WaitVisible(chromedp.CSS(`[data-path="/plain/b.txt"]`)),
	)
	if f, ok := w.get("/plain/a.txt"); !ok || f.size != 1 {
		t.Errorf("published %+v", f)
	}
}

func TestBrowserSignsInAndOut(t *testing.T) {
	w, key := newWorld(t, true)
	b := newBrowser(t, w)
	b.do(chromedp.Navigate(w.url+"/"), chromedp.WaitVisible(chromedp.CSS("#key")))
	b.shots("login")
	b.do(chromedp.SendKeys(chromedp.CSS("#key"), "pk_wrong\r"), chromedp.WaitVisible(chromedp.CSS("[role=alert]")))
	b.shot("login-refused")
	b.do(chromedp.SendKeys(chromedp.CSS("#key"), key+"\r"))
	b.wait(`document.body.dataset.ready !== undefined`)
	b.waitText(".foot", "Signed in as tester")
	b.choose(tempFile(t, "a.txt", []byte("hello"))) // needs the token
	b.wait(`document.querySelector('.upload-item[data-path="/a.txt"]')?.dataset.state === "done"`)
	b.click("#nav-files")
	b.click(`[data-path="/a.txt"] [data-do=purge]`)
	b.wait(`document.querySelector(".purge-proof, .note.bad") !== null`)

	// The key is revoked elsewhere: the page says that the session is over.
	for _, k := range w.ring.List() {
		if err := w.ring.Revoke(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
	}
	b.fill("#prefix", "/x")
	b.waitText("#signed-out", "Your session has ended")
	b.shot("signed-out")
	b.forgive("401")
}
