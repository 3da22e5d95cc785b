package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/clock"
	"perigee/config"
	"perigee/keys"
	"perigee/object"
)

func openCatalog(t *testing.T, file string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.OpenSQLite(t.Context(), catalog.Config{File: file, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func auditOf(t *testing.T, c *catalog.Catalog) []catalog.AuditEntry {
	t.Helper()
	es, err := c.Audit(t.Context(), catalog.AuditFilter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(es)
	return es
}

// TestKeyFileIsAudited: what the command line changes in the key file while no server runs is in the audit log of the server that starts next, once,
// with who did it.
func TestKeyFileIsAudited(t *testing.T) {
	dir := t.TempDir()
	made := jsonLines[keyView](t, perigee(t, nil, "keys", "create", "--json", "--data", dir, "--name", "one").want(t, 0).out)[0]
	perigee(t, nil, "keys", "revoke", "--data", dir, made.ID).want(t, 0)
	file := filepath.Join(dir, "keys.json")
	cat := openCatalog(t, filepath.Join(dir, "c.db"))
	r := &role{clock: clock.System, log: slog.New(slog.DiscardHandler)}
	server := func() *noted { return &noted{FileStore: newKeyFile(file, clock.System), log: cat, role: r} }
	unfinished := server()
	notes, err := unfinished.Notes()
	if err != nil || len(notes) != 2 {
		t.Fatalf("%s %v", notes, err)
	}
	var first keyNote
	if err := json.Unmarshal(notes[0], &first); err != nil {
		t.Fatal(err)
	}
	if err := cat.NoteOnce(t.Context(), first.AuditEntry); err != nil { // a server was killed before it dropped the note
		t.Fatal(err)
	}
	n := server()
	n.take(t.Context())
	n.take(t.Context())
	es := auditOf(t, cat)
	if len(es) != 2 || es[0].Action != catalog.KeyCreated || es[1].Action != catalog.KeyRevoked {
		t.Fatalf("%+v", es)
	}
	for _, e := range es {
		if e.Key != "offline" || e.Name == "" || e.Object != made.ID || e.Outcome != catalog.OutcomeDone {
			t.Errorf("%+v", e)
		}
	}
	if notes, err := n.Notes(); err != nil || len(notes) != 0 {
		t.Errorf("left %s %v", notes, err)
	}
	// What the server itself does is there when it is answered, and the request finds it again.
	ring, err := keys.Open(keys.Config{Store: n})
	if err != nil {
		t.Fatal(err)
	}
	ctx := catalog.WithActor(t.Context(), catalog.Actor{Key: "k1", Once: "series"})
	if _, _, err := ring.Create(ctx, keys.NewKey{Name: "two"}); err != nil {
		t.Fatal(err)
	}
	if es := auditOf(t, cat); len(es) != 3 || es[2].Key != "k1" {
		t.Errorf("%+v", es)
	}
	// A catalogue that is away delays the entry and nothing else.
	cat.Close()
	if _, _, err := ring.Create(ctx, keys.NewKey{Name: "three"}); err != nil {
		t.Fatal(err)
	}
	if notes, err := n.Notes(); err != nil || len(notes) != 1 || !strings.Contains(string(notes[0]), "series") {
		t.Errorf("kept %s %v", notes, err)
	}
}

// TestKeysInTheCatalogue: the first key of an installation, and taking over those of a file.
func TestKeysInTheCatalogue(t *testing.T) {
	dir := t.TempDir()
	set := []string{"--data", dir, "--set", "api.keys=catalogue"}
	run := func(args ...string) result { return perigee(t, nil, append(args, set...)...) }
	if r := run("keys", "list").want(t, 0); !strings.Contains(r.errOut, "no key in the catalogue") {
		t.Error(r.errOut)
	}
	secret := strings.TrimSpace(run("keys", "create", "--name", "me", "--scope", "admin").want(t, 0).out)
	file := filepath.Join(dir, "old.json")
	old, err := keys.Open(keys.Config{File: file})
	if err != nil {
		t.Fatal(err)
	}
	oldSecret, oldKey, err := old.Create(t.Context(), keys.NewKey{Name: "old"})
	if err != nil {
		t.Fatal(err)
	}
	if r := run("keys", "import", file).want(t, 0); !strings.Contains(r.out, "1 key taken over") {
		t.Error(r.out)
	}
	if r := run("keys", "import", file).want(t, 0); !strings.Contains(r.out, "0 keys taken over") {
		t.Error(r.out)
	}
	perigee(t, nil, "keys", "import", file, "--data", dir).want(t, 1)
	if _, err := os.Stat(filepath.Join(dir, "keys.json")); err == nil {
		t.Error("a key file was made")
	}
	cat := openCatalog(t, filepath.Join(dir, "catalog.db"))
	ring, err := keys.Open(keys.Config{Store: cat.KeyStore()})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{secret, oldSecret} {
		if _, err := ring.Check(s); err != nil {
			t.Error(err)
		}
	}
	for _, e := range auditOf(t, cat) {
		if e.Key != "offline" || e.Action != catalog.KeyCreated {
			t.Errorf("%+v", e)
		}
	}
	if r := run("keys", "revoke", oldKey.ID).want(t, 1); !strings.Contains(r.errOut, "--url") {
		t.Errorf("while a server runs: %s", r.errOut)
	}
	cat.Close()
	run("keys", "revoke", oldKey.ID).want(t, 0)
	if r := run("keys", "list", "--json").want(t, 0); strings.Contains(r.out, oldKey.ID) || !strings.Contains(r.out, `"me"`) {
		t.Error(r.out)
	}
}

// TestKeysLeftInAFileAreNotForgotten: a configuration that turns to the catalogue must not open the door by forgetting the keys of the file.
func TestKeysLeftInAFileAreNotForgotten(t *testing.T) {
	dir := t.TempDir()
	cat := openCatalog(t, filepath.Join(dir, "c.db"))
	cfg, err := config.Load("", nil, []string{"data=" + dir, "api.keys=catalogue"})
	if err != nil {
		t.Fatal(err)
	}
	r := &role{cfg: cfg, clock: clock.System, log: slog.New(slog.DiscardHandler)}
	r.parts = newParts(r.log)
	open := func() error {
		a := &api{r: r, catalog: cat}
		return errors.Join(a.openKeys(t.Context()), r.stop())
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	old, err := keys.Open(keys.Config{File: cfg.API.KeysFile})
	if err == nil {
		_, _, err = old.Create(t.Context(), keys.NewKey{Name: "old"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "perigee keys import") {
		t.Errorf("the keys of the file are forgotten: %v", err)
	}
	ring, err := keys.Open(keys.Config{Store: cat.KeyStore()})
	if err == nil {
		_, err = ring.Import(t.Context(), keys.NewFileStore(cfg.API.KeysFile))
	}
	if err = errors.Join(err, open()); err != nil {
		t.Error(err)
	}
}

// TestUsesAreKept: when a key was used outlives the server.
func TestUsesAreKept(t *testing.T) {
	dir := t.TempDir()
	cat := openCatalog(t, filepath.Join(dir, "c.db"))
	ring, err := keys.Open(keys.Config{Store: cat.KeyStore()})
	if err != nil {
		t.Fatal(err)
	}
	secret, k, err := ring.Create(t.Context(), keys.NewKey{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	kr := &keyring{Ring: ring, log: cat, pending: map[string]time.Time{}}
	if used, err := kr.Uses(t.Context()); err != nil || len(used) != 0 {
		t.Fatal(used, err)
	}
	if _, err := kr.Check(secret); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := kr.run(ctx, &role{clock: clock.System, log: slog.New(slog.DiscardHandler)}); err != nil { // as at the end of a server
		t.Fatal(err)
	}
	if used, err := cat.KeyUses(t.Context()); err != nil || used[k.ID].IsZero() {
		t.Error(used, err)
	}
}

// servedAPI is the real API on a catalogue, with the sites www and media, and the keys of ring.
func servedAPI(t *testing.T) (env []string, cat *catalog.Catalog) {
	t.Helper()
	cat = openCatalog(t, filepath.Join(t.TempDir(), "c.db"))
	for _, rec := range []object.SiteRecord{
		{Format: 1, Site: "www", Kind: object.Published, Hosts: []object.Host{"www.perigee.test"}},
		{Format: 1, Site: "media", Kind: object.Bucket, Bucket: &object.BucketSource{Prefix: "media/", Poll: 60}},
	} {
		if _, err := cat.CreateSite(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	ring, err := keys.Open(keys.Config{Store: cat.KeyStore()})
	if err != nil {
		t.Fatal(err)
	}
	engine := facesOf(t, cat, ring)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known(engine).ServeHTTP(w, r.WithContext(keys.NewContext(r.Context(), keys.Identity{ID: "me", Scopes: []keys.Scope{keys.ScopeAdmin}})))
	}))
	t.Cleanup(h.Close)
	return []string{"PERIGEE_URL=" + h.URL}, cat
}

// TestKeysOverTheAPI: with an address the same commands go to the running API.
func TestKeysOverTheAPI(t *testing.T) {
	env, cat := servedAPI(t)
	dir := t.TempDir()
	r := perigee(t, env, "keys", "create", "--name", "deploy", "--scope", "publish", "--site", "www", "--prefix", "/img/", "--max-file", "1MB", "--requests", "5", "--data", dir).want(t, 0)
	if !strings.HasPrefix(r.out, "pk_") || !strings.Contains(r.errOut, "http://127.0.0.1") {
		t.Error(r.out, r.errOut)
	}
	r = perigee(t, env, "keys", "--data", dir).want(t, 0)
	if !strings.Contains(r.out, "site www below /img/; files up to 1.00 MB; 5 requests/s") {
		t.Error(r.out)
	}
	id := jsonLines[struct{ Keys []keyView }](t, perigee(t, env, "keys", "list", "--json").want(t, 0).out)[0].Keys[0].ID
	perigee(t, env, "keys", "revoke", id).want(t, 0)
	perigee(t, env, "keys", "revoke", id).want(t, 1)
	if es := auditOf(t, cat); len(es) != 4 || es[3].Action != catalog.KeyRevoked || es[3].Key != "me" || es[3].Object != id {
		t.Errorf("%+v", es)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("a key file was made: %v %v", files, err)
	}
	if r := perigee(t, env, "keys", "--offline", "--data", dir).want(t, 0); !strings.Contains(r.errOut, dir) {
		t.Error(r.errOut)
	}
	perigee(t, nil, "keys", "--offline", "--url", "http://127.0.0.1:1").want(t, 1)
}

func TestSites(t *testing.T) {
	env, _ := servedAPI(t)
	run := func(args ...string) result { return perigee(t, env, append([]string{"sites"}, args...)...) }
	r := run("quota", "www", "--bytes", "10GB", "--files", "1000").want(t, 0)
	if !strings.Contains(r.out, "of 10.0 GB") {
		t.Error(r.out)
	}
	r = run("quota", "www", "--max-file", "1GB", "--bytes", "0").want(t, 0) // the others stay
	if !strings.Contains(r.out, "1,000") || !strings.Contains(r.out, "1.00 GB") || strings.Contains(r.out, "10.0 GB") {
		t.Error(r.out)
	}
	r = run().want(t, 0)
	if !strings.Contains(r.out, "media") || !strings.Contains(r.out, "of 1,000") {
		t.Error(r.out)
	}
	if r := run("quota", "media", "--bytes", "1GB").want(t, 1); !strings.Contains(r.errOut, "bucket") {
		t.Error(r.errOut)
	}
	if r := run("show", "media").want(t, 0); !strings.Contains(r.out, "not counted") || !strings.Contains(r.out, "1m0s") {
		t.Error(r.out)
	}
	run("show", "nowhere").want(t, 1)
	if r := run("recount", "www").want(t, 0); !strings.Contains(r.out, "as was counted") {
		t.Error(r.out)
	}
	if r := run("recount", "media").want(t, 1); !strings.Contains(r.errOut, "other-kind") && !strings.Contains(r.errOut, "not stored by Perigee") {
		t.Error(r.errOut)
	}
	run("create", "x", "--prefix", "media/", "--origin", "http://x").want(t, 1)
}

// TestDeclaredSites: the kind of a site follows from what is said of it.
func TestDeclaredSites(t *testing.T) {
	for want, c := range map[string]sitesCreateCmd{
		"":       {},
		"bucket": {Prefix: "media/", Poll: time.Minute},
		"pull":   {Origin: "http://x"},
	} {
		c.Site = "x"
		d, err := c.declared()
		if err != nil || string(d.Kind) != want || (d.Bucket != nil) != (want == "bucket") || (d.Origin != nil) != (want == "pull") {
			t.Errorf("%s: %+v, %v", want, d, err)
		}
	}
}
