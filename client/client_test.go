package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"perigee/client"
	"perigee/client/clienttest"
	"perigee/fleet"
	"perigee/object"
)

func connect(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	c.Retry.Pause = time.Millisecond
	cl, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func serve(t *testing.T) (*clienttest.Server, *client.Client) {
	s := clienttest.New(t)
	return s, connect(t, client.Config{BaseURL: s.URL + "/"})
}

func put(t *testing.T, c *client.Client, path object.Path, body string, o client.PutOptions) client.File {
	t.Helper()
	o.Size = int64(len(body))
	f, _, err := c.Put(t.Context(), "www", path, strings.NewReader(body), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// awkward are paths that a careless client mangles.
var awkward = []object.Path{
	"/plain.txt", "/a b/c d.txt", "/文件/图片.png", "/100%/%2F.txt", "/q?x=1#frag", "/a+b&c;d=e", "/semi;colon", "/~tilde", "/é́", "/files/versions", "/..a/...",
}

func TestFilesTravelWhole(t *testing.T) {
	s, c := serve(t)
	for i, p := range awkward {
		body := strings.Repeat("x", i*100)
		f, created, err := c.Put(t.Context(), "www", p, strings.NewReader(body), client.PutOptions{
			Size: int64(len(body)), SHA256: sha256.Sum256([]byte(body)), Tags: []object.Tag{"a", "b"}, CacheControl: "no-cache", Wait: time.Second,
		})
		if err != nil || !created {
			t.Fatalf("%s: %v", p, err)
		}
		if f.Path != p || f.Size != int64(len(body)) || len(f.Tags) != 2 || f.CacheControl != "no-cache" || f.Effective == nil || !*f.Effective {
			t.Errorf("%s: %+v", p, f)
		}
		if got, ok := s.Body("www:" + string(p)); !ok || got != body {
			t.Errorf("%s: %d bytes arrived of %d", p, len(got), len(body))
		}
		if g, err := c.Get(t.Context(), "www", p); err != nil || g.Version != f.Version {
			t.Errorf("get %s: %+v, %v", p, g, err)
		}
	}
}

func TestPutOfUnknownLengthAndOfLargeBodies(t *testing.T) {
	s, c := serve(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	for _, size := range []int64{-1, int64(len(body))} {
		if _, _, err := c.Put(t.Context(), "www", "/big", bytes.NewReader(body), client.PutOptions{Size: size}); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.Body("www:/big"); got != string(body) {
			t.Fatalf("size %d: %d bytes arrived", size, len(got))
		}
	}
}

func TestConditionsAndDigest(t *testing.T) {
	s, c := serve(t)
	first := put(t, c, "/a", "one", client.PutOptions{IfNew: true})
	_, _, err := c.Put(t.Context(), "www", "/a", strings.NewReader("two"), client.PutOptions{Size: 3, IfNew: true})
	if !errors.Is(err, client.ErrPrecondition) || client.Temporary(err) {
		t.Fatal(err)
	}
	second := put(t, c, "/a", "two", client.PutOptions{IfMatch: first.Version})
	if second.Version <= first.Version {
		t.Fatal("versions do not rise")
	}
	if _, err := c.Delete(t.Context(), "www", "/a", first.Version); !errors.Is(err, client.ErrPrecondition) {
		t.Fatal(err)
	}
	_, _, err = c.Put(t.Context(), "www", "/a", strings.NewReader("three"), client.PutOptions{Size: 5, SHA256: sha256.Sum256([]byte("four"))})
	var p *client.Problem
	if !errors.As(err, &p) || p.Type != "/problems/digest-mismatch" {
		t.Fatal(err)
	}
	if got, _ := s.Body("www:/a"); got != "two" {
		t.Fatalf("a refused call changed the file to %q", got)
	}
}

func TestListGoesThroughAllPages(t *testing.T) {
	s, c := serve(t)
	s.PageSize = 7
	for i := range 40 {
		put(t, c, object.Path(fmt.Sprintf("/d/%02d", i)), "x", client.PutOptions{})
	}
	put(t, c, "/other", "x", client.PutOptions{})
	var last object.Path
	n := 0
	for f, err := range c.List(t.Context(), "www", "/d/") {
		if err != nil || f.Path <= last {
			t.Fatal(f, err)
		}
		last = f.Path
		n++
	}
	if n != 40 {
		t.Fatalf("%d files", n)
	}
	calls := s.Calls("GET ")
	for range c.List(t.Context(), "www", "") {
		break
	}
	if s.Calls("GET ") != calls+1 {
		t.Error("a list that was left asked on")
	}
}

func TestListEndsWhenTheServerTurnsInCircles(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"files":[{"path":"/a"}],"next":"x"}`)
	}))
	defer h.Close()
	n := 0
	var last error
	for _, err := range connect(t, client.Config{BaseURL: h.URL}).List(t.Context(), "www", "") {
		n, last = n+1, err
	}
	if n != 3 || last == nil {
		t.Fatal(n, last)
	}
}

func TestDeleteVersionsRollback(t *testing.T) {
	s, c := serve(t)
	first := put(t, c, "/a b", "one", client.PutOptions{})
	put(t, c, "/a b", "two", client.PutOptions{})
	if _, err := c.Delete(t.Context(), "www", "/a b", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "www", "/a b"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := c.Delete(t.Context(), "www", "/a b", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	s.PageSize = 2
	var vs []client.File
	for f, err := range c.Versions(t.Context(), "www", "/a b") {
		if err != nil {
			t.Fatal(err)
		}
		vs = append(vs, f)
	}
	if len(vs) != 3 || vs[0].State != object.Gone || vs[2].Version != first.Version {
		t.Fatal(vs)
	}
	for _, err := range c.Versions(t.Context(), "www", "/never") {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	f, err := c.Rollback(t.Context(), "www", "/a b", first.Version)
	if err != nil || f.Version <= vs[0].Version {
		t.Fatal(f, err)
	}
	if got, _ := s.Body("www:/a b"); got != "one" {
		t.Fatalf("rolled back to %q", got)
	}
}

func TestPurge(t *testing.T) {
	s, c := serve(t)
	s.Lagging = 1
	p, err := c.Purge(t.Context(), "www", client.PurgeOrder{URLs: []string{"/a%20b"}, Soft: true}, 0)
	if err != nil || p.ID == "" || p.Position.IsZero() || p.Effective || p.Edges != nil {
		t.Fatal(p, err)
	}
	for _, want := range []bool{false, true} {
		if p, err = c.PurgeStatus(t.Context(), p.ID); err != nil || p.Effective != want || len(p.Edges) != 3 {
			t.Fatal(p, err)
		}
	}
	if _, err := c.PurgeStatus(t.Context(), "../fleet"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := c.Purge(t.Context(), "www", client.PurgeOrder{}, time.Second); err == nil {
		t.Fatal("a purge of nothing was ordered")
	}
}

func TestFleetAndExplain(t *testing.T) {
	s, c := serve(t)
	s.Nodes = []client.Node{{Node: fleet.Node{Report: fleet.Report{Format: 1, Node: "fra", Role: fleet.RoleEdge, State: fleet.Ready}}}}
	f, err := c.Fleet(t.Context())
	if err != nil || f.Gen != 7 || len(f.Nodes) != 1 || f.Nodes[0].Report.Node != "fra" {
		t.Fatal(f, err)
	}
	if err := c.Drain(t.Context(), "fra"); err != nil || s.Nodes[0].State != fleet.Draining {
		t.Fatal(err)
	}
	if err := c.Undrain(t.Context(), "fra"); err != nil || s.Nodes[0].State != fleet.Ready {
		t.Fatal(err)
	}
	if err := c.Drain(t.Context(), "../sites"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	e, err := c.Explain(t.Context(), "www", "/a b", netip.MustParseAddr("81.2.69.144"))
	if err != nil || e.Path != "/a b" || e.Chosen != "fra" || e.Answer.TTL != 20 || len(e.Candidates) != 2 || e.Edge.Blob != "ram" || !e.Place.Known {
		t.Fatal(e, err)
	}
	sites, err := c.Sites(t.Context())
	if err != nil || len(sites) != 2 {
		t.Fatal(sites, err)
	}
}

func TestProblems(t *testing.T) {
	for _, tc := range []struct {
		name      string
		status    int
		head, typ string
		body      string
		is        error
		temporary bool
		text      string
	}{
		{"problem", 404, "", "application/problem+json", `{"type":"/problems/x","title":"T","status":404,"detail":"no such thing","request_id":"r9"}`, fs.ErrNotExist, false, "no such thing (HTTP 404, request r9)"},
		{"gone", 410, "", "application/problem+json", `{"title":"Gone"}`, fs.ErrNotExist, false, "Gone (HTTP 410)"},
		{"unauthorized", 401, "", "application/problem+json", `{"detail":"send a key"}`, fs.ErrPermission, false, "send a key (HTTP 401)"},
		{"a lying status", 503, "", "application/problem+json; charset=utf-8", `{"detail":"later","status":200}`, nil, true, "later (HTTP 503)"},
		{"busy", 409, "1", "application/problem+json", `{"detail":"busy"}`, nil, true, "busy (HTTP 409)"},
		{"exists", 409, "", "application/problem+json", `{"detail":"exists"}`, nil, false, "exists (HTTP 409)"},
		{"a proxy's page", 502, "", "text/html", `<h1>Bad Gateway</h1>`, nil, true, "the server answered 502 Bad Gateway (HTTP 502)"},
		{"nothing", 500, "", "", ``, nil, true, "500 Internal Server Error"},
		{"broken", 400, "", "application/problem+json", `{"detail":`, nil, false, "400 Bad Request"},
		{"not our API", 200, "", "text/html", `<html>`, nil, false, "is it Perigee"},
		{"full", 507, "", "application/problem+json", `{"detail":"full"}`, nil, false, "full"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tc.head != "" {
					w.Header().Set("Retry-After", tc.head)
				}
				w.Header().Set("Content-Type", tc.typ)
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body)
			}))
			defer h.Close()
			_, err := connect(t, client.Config{BaseURL: h.URL}).Fleet(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.text) || tc.is != nil && !errors.Is(err, tc.is) || client.Temporary(err) != tc.temporary {
				t.Fatalf("%v, temporary %v", err, client.Temporary(err))
			}
		})
	}
}

func TestRedirectsAreToldNotFollowed(t *testing.T) {
	reached := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	h := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer h.Close()
	_, err := connect(t, client.Config{BaseURL: h.URL, Key: "secret"}).Fleet(t.Context())
	if err == nil || !strings.Contains(err.Error(), other.URL) || reached {
		t.Fatal(err, reached)
	}
}

func TestKeyIsSentAndNotTold(t *testing.T) {
	s := clienttest.New(t)
	s.Key = "pk_0123456789_secret"
	if _, err := connect(t, client.Config{BaseURL: s.URL, Key: s.Key}).Fleet(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := connect(t, client.Config{BaseURL: s.URL, Key: "pk_wrong"}).Fleet(t.Context())
	if !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "pk_wrong") {
		t.Fatal(err)
	}
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, err = connect(t, client.Config{BaseURL: "http://" + addr}).Fleet(t.Context())
	if err == nil || !client.Temporary(err) || !strings.Contains(err.Error(), "perigee up") || strings.Count(err.Error(), addr) != 1 {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = connect(t, client.Config{}).Fleet(ctx); !errors.Is(err, context.Canceled) || client.Temporary(err) {
		t.Fatal(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []client.Config{
		{BaseURL: "127.0.0.1:8080"}, {BaseURL: "ftp://x"}, {BaseURL: "http://"}, {BaseURL: "http://u:p@h"}, {BaseURL: "http://h?x=1"}, {Key: "a\nb"},
	} {
		if _, err := client.New(c); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// stubborn is a body that counts reads after the call that was given it has returned.
type stubborn struct {
	done  bool
	after int
}

func (s *stubborn) Read(p []byte) (int, error) {
	if s.done {
		s.after++
	}
	return len(p), nil
}

func TestABodyIsNotReadAfterTheCall(t *testing.T) {
	s, c := serve(t)
	s.Before = func(*http.Request) int { return http.StatusForbidden }
	for range 50 {
		b := &stubborn{}
		if _, _, err := c.Put(t.Context(), "www", "/a", b, client.PutOptions{Size: -1}); err == nil {
			t.Fatal("accepted")
		}
		b.done = true // the race detector sees a reader that is still at work
		if b.after > 0 {
			t.Fatal("read after the call")
		}
	}
}
