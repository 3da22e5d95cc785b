package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
	"perigee/origin/watch"
)

// counted makes the site www known to the catalogue, which has quotas and usage.
func counted(t *testing.T, w *world) {
	t.Helper()
	if _, err := w.cat.CreateSite(t.Context(), object.SiteRecord{Format: 1, Site: testSite, Kind: object.Published}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		h := object.HashOf([]byte{byte(i)})
		p := object.Pointer{Format: 1, Site: testSite, Path: object.Path(fmt.Sprintf("/f%d", i)), State: object.Live, Hash: h, Root: h, Size: 1_000_000, Blob: object.BlobKey(h), ContentType: "text/plain"}
		r, err := w.cat.Reserve(t.Context(), catalog.Change{Pointer: p})
		if err == nil {
			_, err = w.cat.Commit(t.Context(), r, `"e"`)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestBrowserSetsAQuota(t *testing.T) {
	w, _ := newWorld(t, false)
	counted(t, w)
	b := newBrowser(t, w)
	b.open("/#sites")
	b.waitText(`[data-site=www]`, "3.0 MB")
	b.click(`[data-site=www] a`)
	b.waitText("#quota", "No limit")
	b.click("#edit-quota")
	b.fill("#quota-bytes", "much")
	b.waitText("#quota-form", "Write a size")
	b.wait(`document.querySelector("#save-quota").disabled`)
	b.fill("#quota-bytes", "4 MB")
	b.fill("#quota-files", "3")
	b.shots("site-quota-edit")
	b.click("#save-quota")
	b.waitText("#used-bytes", "3.0 MB of 4.0 MB")
	b.wait(`document.querySelector("#used-files progress").value === 3`)
	if u, err := w.cat.Usage(t.Context(), testSite); err != nil || u.Quota != (catalog.Quota{Bytes: 4_000_000, Files: 3}) {
		t.Errorf("%+v %v", u, err)
	}
	b.click("#edit-quota")
	if got := b.js(`document.querySelector("#quota-bytes").value`); got != "4 MB" {
		t.Errorf("the form has %q", got)
	}
	b.fill("#quota-bytes", "2 MB")
	b.click("#save-quota")
	b.waitText("#quota", "uses more than it may")
	b.click("#recount")
	b.waitText("#recounted", "as before")
	b.shots("site-quota")
	b.fits()
	b.do(chromedp.Navigate(w.url + "/#sites?site=nowhere"))
	b.waitText("main", "There is no site of this name")
}

func TestBrowserMakesABucketSite(t *testing.T) {
	w, _ := newWorld(t, false)
	counted(t, w)
	b := newBrowser(t, w)
	b.open("/#sites")
	b.click("#new-site")
	b.click(`#site-form [value=bucket]`)
	b.fill("#site-name", "media")
	b.fill("#site-hosts", "media.perigee.test, cdn.perigee.test")
	b.fill("#site-prefix", "films") // has to end in '/'
	b.shots("site-new")
	b.fits()
	b.click("#create-site")
	b.waitText("#site-form .note.bad", "must end in '/'")
	b.forgive("400")
	b.fill("#site-prefix", "films/")
	b.do(chromedp.SetValue(chromedp.CSS("#site-store"), "archive"))
	b.js(`document.querySelector("#site-store").dispatchEvent(new Event("change", {bubbles: true}))`)
	now := time.Now()
	w.mu.Lock()
	w.watched = []watch.Status{{Site: "media", Store: "archive", Bucket: "films-2026", Prefix: "films/", Watcher: "api-1", Mode: watch.ModePolling, Poll: 300,
		Listing: &watch.Cycle{Started: now, Listed: 12_345}}}
	w.mu.Unlock()
	b.click("#create-site")
	b.waitText("#site-facts", "cdn.perigee.test")
	b.waitText("#site-facts", "store archive")
	b.waitText("#next-listing", "12,345 objects so far")
	b.waitText("#quota-none", "neither stores nor counts")
	b.wait(`document.querySelector("#watch").dataset.state === "first listing"`)
	b.shots("site-bucket-first")
	w.mu.Lock()
	w.watched = []watch.Status{{Site: "media", Store: "archive", Bucket: "films-2026", Prefix: "films/", Watcher: "api-1", Mode: watch.ModeWebhook, Poll: 300, LastEvent: now.Add(-2 * time.Minute), Missed: 1,
		CycleSeconds: 312, Last: &watch.Cycle{Started: now.Add(-100 * time.Second), Finished: now.Add(-88 * time.Second), Listed: 48_000, Skipped: 3, Found: 1}}}
	w.mu.Unlock()
	b.wait(`document.querySelector("#watch").dataset.state === "watched"`)
	b.waitText("#last-listing", "48,000 objects, 3 skipped, 1 difference")
	b.waitText("#next-listing", "in 3 min")
	b.waitText("#watch", "Webhook")
	b.shots("site-bucket")
	b.fits()
	w.mu.Lock()
	w.watched[0].Trouble, w.watched[0].Watcher = "the store refuses the key: AccessDenied", ""
	w.mu.Unlock()
	b.waitText("#watch [role=alert]", "AccessDenied")
	b.shot("site-bucket-trouble")
	b.click(`a[href="#sites"].push`)
	b.waitText(`[data-site=media]`, "not counted")
	b.waitText(`[data-site=media]`, "not watched")
	b.shots("sites")
	b.fits()
}

func TestBrowserMakesAndRevokesKeys(t *testing.T) {
	w, admin := newWorld(t, true)
	counted(t, w)
	b := newBrowser(t, w)
	b.do(chromedp.Navigate(w.url+"/"), chromedp.WaitVisible(chromedp.CSS("#key")), chromedp.SendKeys(chromedp.CSS("#key"), admin+"\r"))
	b.wait(`document.body.dataset.ready !== undefined`)
	b.click("#nav-keys")
	b.wait(`document.querySelectorAll("#keys-table tr[data-key]").length === 1`)
	b.waitText("#keys-table", "(yours)")
	b.waitText("#keys-table", "just now") // it signed in
	b.click("#new-key")
	b.fill("#key-name", "deploy")
	b.click(`#key-form [value=publish]`)
	b.click(`#key-form details summary`)
	b.fill("#key-prefixes", "/img/")
	b.waitText("#key-form", "Choose the site")
	b.wait(`document.querySelector("#create-key").disabled`)
	b.click(`#key-form [name=site][value=www]`)
	b.fill("#key-file", "100 MB")
	b.fill("#key-requests", "20")
	b.shots("keys-new")
	b.fits()
	b.click("#create-key")
	b.wait(`document.querySelector("#secret") !== null`)
	secret := b.text("#secret")
	if got := b.js(`document.querySelector("#made-key [data-copy=key]").dataset.text`); got != secret {
		t.Errorf("copied is %q, shown %q", got, secret)
	}
	id, err := w.ring.Check(secret)
	want := keys.Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/img/"}, MaxFile: 100_000_000, RequestsPerSecond: 20}
	if err != nil || fmt.Sprint(id.Limits) != fmt.Sprint(want) || !id.May(keys.ScopePublish) || id.May(keys.ScopePurge) {
		t.Fatalf("made %+v, %v", id, err)
	}
	b.wait(`document.querySelectorAll("#keys-table tr[data-key]").length === 2`)
	b.waitText(`[data-key="`+id.ID+`"]`, "below /img/")
	b.shots("keys-made")
	b.fits()
	b.open("/#keys") // a reload shows it no more
	b.wait(`document.querySelectorAll("#keys-table tr[data-key]").length === 2`)
	if strings.Contains(b.text("body"), secret) {
		t.Error("the secret is shown again")
	}
	b.click(`[data-key="` + id.ID + `"] [data-do=revoke]`)
	b.waitText("#confirm", "Revoke deploy?")
	b.shots("keys-revoke")
	b.click("#confirm button:first-child")
	b.wait(`document.querySelector("#confirm") === null`)
	if _, err := w.ring.Check(secret); err != nil {
		t.Fatal("revoked although the dialog was cancelled")
	}
	b.click(`[data-key="` + id.ID + `"] [data-do=revoke]`)
	b.click("#confirm-yes")
	b.wait(`document.querySelectorAll("#keys-table tr[data-key]").length === 1`)
	if _, err := w.ring.Check(secret); err == nil {
		t.Error("not revoked")
	}
	b.click(`[data-do=revoke]`)
	b.waitText("#confirm", "signed in with this key")
	b.click("#confirm-yes")
	b.waitText("#signed-out", "Your session has ended")
	b.forgive("401")
}

// TestBrowserMakesTheFirstKey: it ends keyless mode, and with it this page's right to anything; the key stays on the screen all the same.
func TestBrowserMakesTheFirstKey(t *testing.T) {
	w, _ := newWorld(t, false)
	b := newBrowser(t, w)
	b.open("/#keys")
	b.waitText("main", "There is no key yet")
	b.click("#new-key")
	b.waitText("#key-form", "This is the first key")
	b.fill("#key-name", "me")
	b.click("#create-key")
	b.waitText("#signed-out", "Your session has ended")
	id, err := w.ring.Check(b.text("#secret"))
	if err != nil || !id.May(keys.ScopeAdmin) {
		t.Errorf("%+v %v", id, err)
	}
	b.shots("keys-first")
	b.forgive("401")
}

// TestBrowserOffersWhatAKeyMay: who may not administer is offered neither keys nor new sites, and told plainly when asking all the same.
func TestBrowserOffersWhatAKeyMay(t *testing.T) {
	w, _ := newWorld(t, true)
	counted(t, w)
	reader, _, err := w.ring.Create(t.Context(), keys.NewKey{Name: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, w)
	b.do(chromedp.Navigate(w.url+"/"), chromedp.WaitVisible(chromedp.CSS("#key")), chromedp.SendKeys(chromedp.CSS("#key"), reader+"\r"))
	b.wait(`document.body.dataset.ready !== undefined`)
	b.wait(`document.querySelector("#nav-keys") === null && document.querySelector("#nav-audit") === null`)
	b.click("#nav-sites")
	b.waitText("#sites-table", "www")
	if b.js(`document.querySelector("#new-site") === null`) != "true" {
		t.Error("a new site is offered")
	}
	b.click(`[data-site=www] a`)
	b.wait(`document.querySelector("#quota") !== null && document.querySelector("#edit-quota") === null`)
	b.js(`location.hash = "#keys"`)
	b.waitText("main .note.bad", "lacks the scope")
	b.forgive("403")
}

func TestBrowserReadsTheAuditLog(t *testing.T) {
	w, _ := newWorld(t, false)
	counted(t, w)
	ann := catalog.WithActor(t.Context(), catalog.Actor{Key: "0123456789", Name: "Ann", Method: http.MethodPost, Request: "OZQ3UVJ6TTEZ42LP", Remote: "192.0.2.0/24"})
	for i := range 120 {
		e := catalog.AuditEntry{Action: catalog.NodeDrained, Object: fmt.Sprintf("node-%03d", i), Outcome: catalog.OutcomeUnknown}
		if i%2 == 0 {
			e = catalog.AuditEntry{Action: catalog.FileDeleted, Site: testSite, Object: fmt.Sprintf("/img/%03d/%s.jpg", i, strings.Repeat("long-", 20)), Detail: "version 001j0sftorgu8000"}
		}
		if err := w.cat.Note(ann, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.cat.Note(catalog.WithActor(t.Context(), catalog.Actor{Key: "offline", Name: "ann@host"}), catalog.AuditEntry{Action: catalog.KeyCreated, Object: "abcdefghij"}); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, w)
	b.open("/#audit")
	rows := func(n int) {
		b.wait(fmt.Sprintf(`document.querySelectorAll("#audit-table tr[data-entry]").length === %d`, n))
	}
	rows(50)
	b.waitText("#audit-table", "ann@host, off line")
	b.shots("audit")
	b.fits()
	b.click(`nav[aria-label=Pages] button:last-child`)
	b.waitText("nav[aria-label=Pages]", "Page 2")
	b.click(`nav[aria-label=Pages] button:last-child`)
	b.waitText("nav[aria-label=Pages]", "Page 3")
	rows(25) // 4 of the site and its files, 120, and 1
	b.click(`nav[aria-label=Pages] button:nth-last-child(2)`)
	b.waitText("nav[aria-label=Pages]", "Page 2")
	b.fill("#audit-key", "offline")
	rows(1)
	b.do(chromedp.Navigate(w.url + "/#audit?site=www&key=0123456789"))
	b.wait(`document.querySelector("#audit-site").value === "www"`)
	rows(50)
	if b.js(`[...document.querySelectorAll("#audit-table tr[data-entry]")].every((r) => r.dataset.action === "file.delete")`) != "true" {
		t.Error("entries of others are shown")
	}
	b.fill("#audit-key", "nobody")
	b.waitText("main", "No entry fits")
	// What happens shows up by itself.
	b.do(chromedp.Navigate(w.url + "/#audit"))
	b.wait(`document.querySelector("#live-state").dataset.live === "live"`)
	rows(50)
	if err := w.cat.Note(ann, catalog.AuditEntry{Action: catalog.PurgeOrdered, Site: testSite, Object: "just now"}); err != nil {
		t.Fatal(err)
	}
	w.entry(purgeAll())
	b.waitText("#audit-table", "just now")
}
