package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/client"
	"perigee/object"
	"perigee/problem"
)

// seen notes which operations of the description a client's requests are.
type seen struct {
	spec *spec
	mu   sync.Mutex
	ids  map[string]bool
	// fault, if set, may break a request: it returns a response, or an error, in place of the server's.
	fault func(*http.Request) error
}

func (s *seen) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	for id, o := range s.spec.operations {
		if o.method == req.Method && s.matches(id, o, req) {
			s.ids[id] = true
		}
	}
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		if err := fault(req); err != nil {
			return nil, err
		}
	}
	return http.DefaultTransport.RoundTrip(req)
}

func (s *seen) matches(id string, o *specOperation, req *http.Request) bool {
	path := req.URL.EscapedPath()
	if _, ok := req.URL.Query()["versions"]; ok { // the spelling that is no file's, whatever its name
		return id == "listVersions"
	}
	pattern := regexp.QuoteMeta(o.path)
	pattern = strings.ReplaceAll(pattern, `\{path\}`, `.+`)
	pattern = regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(pattern, `[^/]+`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(path)
}

// without are the operations that the Go client has no method for, and why.
var without = map[string]string{
	"tusOptionsOne": "it says what tusOptions says",
	"tusOverride":   "it is for clients that cannot send PATCH",
	"login":         "a program has its key; sessions are for browsers",
	"getSession":    "as login",
	"logout":        "as login",
	"logoutForm":    "as login",
	"bucketEvents":  "stores call it, with a secret of their own",
}

// TestClientCoversEveryOperation calls every method of the Go client against the running server, and looks which operations of the description the
// requests are.
func TestClientCoversEveryOperation(t *testing.T) {
	s := upPublic(t)
	ctx := within(t, 3*long)
	plain, err := client.New(client.Config{BaseURL: "http://" + s.API})
	if err != nil {
		t.Fatal(err)
	}
	text, err := plain.Description(ctx)
	if err != nil {
		t.Fatal(err)
	}
	log := &seen{spec: readSpec(t, text), ids: map[string]bool{}}
	connect := func(key string) *client.Client {
		c, err := client.New(client.Config{BaseURL: "http://" + s.API, Key: key, HTTP: &http.Client{Transport: log}, UserAgent: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	_, secret, err := connect("").CreateKey(ctx, client.NewKey{Name: "test", Scopes: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	c := connect(secret)
	clientKeys(t, ctx, c)
	clientFiles(t, ctx, c)
	clientUploads(t, ctx, c, log)
	clientDirect(t, ctx, c, log)
	clientSites(t, ctx, c)
	clientFleet(t, ctx, c)
	for id := range log.spec.operations {
		if _, excused := without[id]; !excused && !log.ids[id] {
			t.Errorf("no method of the client calls %s", id)
		}
	}
}

func clientKeys(t *testing.T, ctx context.Context, c *client.Client) {
	k, _, err := c.CreateKey(ctx, client.NewKey{Name: "short", Scopes: []string{"read"}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Keys(ctx)
	if err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if err := c.RevokeKey(ctx, k.ID); err != nil {
		t.Error(err)
	}
	if err := c.RevokeKey(ctx, k.ID); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, problem.Kind("not-found")) {
		t.Errorf("a key that is gone: %v", err)
	}
	if _, err := c.Description(ctx); err != nil {
		t.Error(err)
	}
}

func clientFiles(t *testing.T, ctx context.Context, c *client.Client) {
	f, created, err := c.Put(ctx, "www", "/a b.txt", strings.NewReader("one"), client.PutOptions{Size: 3, Wait: 20 * time.Second})
	if err != nil || !created || f.Effective == nil || !*f.Effective {
		t.Fatalf("%+v %v", f, err)
	}
	if _, err := c.Get(ctx, "www", "/a b.txt"); err != nil {
		t.Error(err)
	}
	for path, want := range map[object.Path]bool{"/a b.txt": true, "/nothing": false} {
		if got, err := c.Exists(ctx, "www", path); err != nil || got != want {
			t.Errorf("%s exists: %v, %v", path, got, err)
		}
	}
	results, err := c.PutForm(ctx, "www", client.FormOptions{Directory: "/form", Tags: []object.Tag{"x"}}, []client.FormFile{
		{Name: "1.txt", Body: strings.NewReader("1")}, {Name: strings.Repeat("n", 300), Body: strings.NewReader("2")},
	})
	if err != nil || len(results) != 2 || results[0].File == nil || results[0].File.Path != "/form/1.txt" || results[1].Problem == nil {
		t.Errorf("%+v %v", results, err)
	}
	if _, err := c.PutForm(ctx, "www", client.FormOptions{}, []client.FormFile{{Name: "_perigee/x", Body: strings.NewReader("1")}}); !errors.Is(err, problem.Kind("invalid")) {
		t.Errorf("a form of which nothing was published: %v", err)
	}
	n := 0
	for _, err := range c.List(ctx, "www", "/") {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != 2 {
		t.Errorf("%d files", n)
	}
	if _, err := c.Rollback(ctx, "www", "/a b.txt", f.Version); err != nil {
		t.Error(err)
	}
	for v, err := range c.Versions(ctx, "www", "/a b.txt") {
		if err != nil || v.SHA256 != f.SHA256 {
			t.Errorf("%+v %v", v, err)
		}
	}
	if _, err := c.Delete(ctx, "www", "/a b.txt", f.Version); !errors.Is(err, client.ErrPrecondition) {
		t.Errorf("deleted another version: %v", err)
	}
	if _, err := c.Delete(ctx, "www", "/a b.txt", ""); err != nil {
		t.Error(err)
	}
	p, err := c.Purge(ctx, "www", client.PurgeOrder{All: true}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PurgeStatus(ctx, p.ID); err != nil {
		t.Error(err)
	}
}

var errCut = errors.New("the connection was cut")

// clientUploads uploads a large file over connections that break.
func clientUploads(t *testing.T, ctx context.Context, c *client.Client, log *seen) {
	offer, err := c.UploadOffer(ctx)
	if err != nil || offer.MaxSize <= 0 || len(offer.Extensions) < 4 {
		t.Errorf("%+v %v", offer, err)
	}
	body := make([]byte, 20<<20)
	rand.NewChaCha8([32]byte{7}).Read(body)
	cuts := 0
	log.mu.Lock()
	log.fault = func(req *http.Request) error {
		if req.Method != http.MethodPatch || cuts == 3 {
			return nil
		}
		cuts++
		req.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(req.Body, 5<<20), cutHere{}), req.Body}
		return nil
	}
	log.mu.Unlock()
	var address string
	f, err := c.Upload(ctx, "www", "/large.bin", bytes.NewReader(body), int64(len(body)),
		client.UploadOptions{SHA256: sha256.Sum256(body), Begun: func(at string) { address = at }})
	if err != nil || f.Path != "/large.bin" || f.URL == "" || cuts != 3 {
		t.Fatalf("%+v, %d cuts, %v", f, cuts, err)
	}
	if got, err := c.Get(ctx, "www", "/large.bin"); err != nil || got.SHA256 != f.SHA256 || got.Version != f.Version {
		t.Errorf("%+v %v", got, err)
	}
	s, err := c.UploadStatus(ctx, address)
	if err != nil || s.File == nil || s.File.Version != f.Version {
		t.Errorf("%+v %v", s, err)
	}
	// An upload that was begun by one process and is gone on with by another.
	stop, cancel := context.WithCancel(ctx)
	_, err = c.Upload(stop, "www", "/second.bin", cancelling{bytes.NewReader(body), cancel}, int64(len(body)), client.UploadOptions{Begun: func(at string) { address = at }})
	if err == nil {
		t.Fatal("an upload that was stopped is done")
	}
	if f, err = c.Upload(ctx, "www", "/second.bin", bytes.NewReader(body), int64(len(body)), client.UploadOptions{Resume: address, SHA256: sha256.Sum256(body)}); err != nil {
		t.Errorf("resumed: %+v %v", f, err)
	}
	if f, err := c.Upload(ctx, "www", "/empty.bin", bytes.NewReader(nil), 0, client.UploadOptions{}); err != nil || f.Size != 0 || f.URL == "" {
		t.Errorf("an empty file: %+v %v", f, err)
	}
	stop, cancel = context.WithCancel(ctx)
	c.Upload(stop, "www", "/third.bin", cancelling{bytes.NewReader(body), cancel}, int64(len(body)), client.UploadOptions{Begun: func(at string) { address = at }})
	if err := c.EndUpload(ctx, address); err != nil {
		t.Error(err)
	}
	if _, err := c.UploadStatus(ctx, address); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an upload that was given up: %v", err)
	}
}

type cutHere struct{}

func (cutHere) Read([]byte) (int, error) { return 0, errCut }

// cancelling ends a context in the middle of what is read.
type cancelling struct {
	*bytes.Reader
	cancel context.CancelFunc
}

func (c cancelling) Read(b []byte) (int, error) {
	if c.Reader.Len() < 10<<20 {
		c.cancel()
		return 0, errCut
	}
	return c.Reader.Read(b)
}

func clientSites(t *testing.T, ctx context.Context, c *client.Client) {
	rec, err := c.CreateSite(ctx, object.SiteDeclaration{Site: "docs", Hosts: []string{"docs.perigee.test"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateSite(ctx, object.SiteDeclaration{Site: "docs"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a site that there is: %v", err)
	}
	d := object.SiteDeclaration{Site: "docs", Hosts: []string{"docs.perigee.test"}, Rules: object.SiteRules{AllowActive: object.Active{Types: []string{"application/pdf"}}}}
	if now, err := c.UpdateSite(ctx, d, rec.Version); err != nil || !now.Rules.AllowActive.Allows("application/pdf") {
		t.Errorf("%+v %v", now, err)
	}
	if _, err := c.UpdateSite(ctx, d, rec.Version); !errors.Is(err, client.ErrPrecondition) {
		t.Errorf("a version that is old: %v", err)
	}
	if list, err := c.Watches(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	if list, err := c.Sites(ctx); err != nil || len(list) != 2 {
		t.Errorf("%v %v", list, err)
	}
	clientLimits(t, ctx, c)
}

func clientLimits(t *testing.T, ctx context.Context, c *client.Client) {
	if u, err := c.SetQuota(ctx, "docs", client.Quota{Bytes: 1 << 30}); err != nil || u.Quota.Bytes != 1<<30 || u.Site != "docs" {
		t.Errorf("%+v %v", u, err)
	}
	if before, after, err := c.Recount(ctx, "docs"); err != nil || before != after {
		t.Errorf("%+v %+v %v", before, after, err)
	}
	audited := map[string]bool{}
	for e, err := range c.Audit(ctx, "docs", "") {
		if err != nil {
			t.Fatal(err)
		}
		audited[e.Action] = true
	}
	if !audited["site.create"] || !audited["site.quota"] {
		t.Errorf("the audit log has %v", audited)
	}
	for _, err := range c.Purges(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range c.Uploads(ctx) {
		if err != nil {
			t.Fatal(err)
		}
	}
	hash := object.HashOf([]byte("nobody has this"))
	for _, site := range []object.Site{"docs", ""} {
		if e, err := c.Erase(ctx, site, client.EraseOrder{SHA256: hash}, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v %v", e, err)
		}
	}
	if l, err := c.Catalogue(ctx); err != nil || len(l.Servers) != 1 {
		t.Errorf("%+v %v", l, err)
	}
	if err := c.MoveSlots(ctx, []object.Slot{1}, "nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("moved to a server that there is not: %v", err)
	}
	if err := c.CancelMove(ctx, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a move that there is not was cancelled: %v", err)
	}
	for _, collect := range []bool{false, true} {
		if _, err := c.Garbage(ctx, collect); err != nil {
			t.Error(err)
		}
	}
}

func clientFleet(t *testing.T, ctx context.Context, c *client.Client) {
	if f, err := c.Fleet(ctx); err != nil || len(f.Nodes) < 3 {
		t.Errorf("%+v %v", f, err)
	}
	if err := c.Drain(ctx, "fra"); err != nil {
		t.Error(err)
	}
	if err := c.Undrain(ctx, "fra"); err != nil {
		t.Error(err)
	}
	if err := c.Forget(ctx, "fra"); !errors.Is(err, problem.Kind("alive")) {
		t.Errorf("forgot an edge that reports: %v", err)
	}
	if e, err := c.Explain(ctx, "www", "/large.bin", netip.MustParseAddr("81.2.69.142")); err != nil || e.Chosen == "" {
		t.Errorf("%+v %v", e, err)
	}
	if w, err := c.WhatIf(ctx, []string{"fra"}, nil); err != nil || len(w.Edges) == 0 {
		t.Errorf("%+v %v", w, err)
	}
	var names []string
	for e, err := range c.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if names = append(names, e.Name); len(names) == 2 {
			break
		}
	}
	if strings.Join(names, " ") != "hello fleet" {
		t.Errorf("events begin with %v", names)
	}
}
