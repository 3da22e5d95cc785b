package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/client"
	"perigee/object"
)

// cutter stands between a client and the API, and cuts one connection each time it is told to: with the first byte of the answer, which is then lost
// although the server has done what it was asked to, or in the middle of the request.
type cutter struct {
	net.Listener
	to      string
	answers atomic.Bool  // the next answer is lost
	request atomic.Int64 // the next request is cut after so many bytes; 0 for none
	cuts    atomic.Int64
	open    sync.WaitGroup
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	c := &cutter{Listener: ln, to: to}
	c.open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c.open.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() { ln.Close(); c.open.Wait() })
	return c
}

func (c *cutter) serve(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() {
		defer server.Close()
		limit := c.request.Swap(0)
		if limit == 0 {
			io.Copy(server, conn)
			return
		}
		io.CopyN(server, conn, limit)
		c.cuts.Add(1)
		conn.Close()
	})
	defer both.Wait()
	defer conn.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := server.Read(b)
		if n > 0 && c.answers.CompareAndSwap(true, false) {
			c.cuts.Add(1)
			return
		}
		if _, werr := conn.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// TestLostAnswersHaveOneEffect: the connection is cut after the server has made a change, or while the request is on its way. The client sends it again, and the
// change is made once: the audit log has one entry, and it is no error that the second request finds what the first has done.
func TestLostAnswersHaveOneEffect(t *testing.T) {
	s := up(t)
	ctx := within(t, 3*long)
	connect := func(address, key string) *client.Client {
		c, err := client.New(client.Config{BaseURL: "http://" + address, Key: key})
		ok(t, err)
		t.Cleanup(c.Close)
		return c
	}
	_, secret, err := connect(s.API, "").CreateKey(ctx, client.NewKey{Name: "test", Scopes: []string{"admin"}})
	ok(t, err)
	way := newCutter(t, s.API)
	plain, c := connect(s.API, secret), connect(way.Addr().String(), secret)
	entries := func() (list []string) {
		for e, err := range plain.Audit(ctx, "", "") {
			ok(t, err)
			list = append(list, fmt.Sprint(e.Action, " ", e.Site, " ", e.Object, " ", e.Detail))
		}
		return list
	}
	large := noise(9, 3<<20)
	var first, now client.File
	var site object.SiteRecord
	var key client.Key
	for _, change := range []struct {
		name    string
		request int64 // cut the request after so many bytes, in place of the answer
		effects int
		call    func() error
	}{
		{"put", 0, 1, func() (err error) {
			first, _, err = c.Put(ctx, "www", "/a", strings.NewReader("one"), client.PutOptions{Size: 3, IfNew: true})
			return err
		}},
		{"put, cut on its way", 1 << 20, 1, func() (err error) {
			now, _, err = c.Put(ctx, "www", "/a", bytes.NewReader(large), client.PutOptions{Size: int64(len(large)), IfMatch: first.Version})
			return err
		}},
		{"roll back", 0, 1, func() (err error) { now, err = c.Rollback(ctx, "www", "/a", first.Version); return err }},
		{"delete", 0, 1, func() (err error) { _, err = c.Delete(ctx, "www", "/a", now.Version); return err }},
		{"form", 0, 2, func() error {
			_, err := c.PutForm(ctx, "www", client.FormOptions{}, []client.FormFile{{Name: "f1", Body: strings.NewReader("1")}, {Name: "f2", Body: strings.NewReader("2")}})
			return err
		}},
		{"create site", 0, 1, func() (err error) { site, err = c.CreateSite(ctx, object.SiteDeclaration{Site: "new"}); return err }},
		{"update site", 0, 1, func() error {
			_, err := c.UpdateSite(ctx, object.SiteDeclaration{Site: "new", Hosts: []string{"new.test"}}, site.Version)
			return err
		}},
		{"quota", 0, 1, func() error { _, err := c.SetQuota(ctx, "new", client.Quota{Files: 9}); return err }},
		{"purge", 0, 1, func() error { _, err := c.Purge(ctx, "www", client.PurgeOrder{All: true}, 0); return err }},
		{"erase", 0, 2, func() error {
			_, err := c.Erase(ctx, "www", client.EraseOrder{Paths: []object.Path{"/f1"}}, 0)
			return err
		}},
		{"drain", 0, 1, func() error { return c.Drain(ctx, "fra") }},
		{"create key", 0, 1, func() (err error) {
			key, _, err = c.CreateKey(ctx, client.NewKey{Name: "lost", Scopes: []string{"read"}})
			if errors.Is(err, client.ErrSecretLost) {
				return nil // as it has to be: nobody can read a secret again
			}
			return fmt.Errorf("the answer with the secret was lost, and that was not told: %w", err)
		}},
		{"revoke key", 0, 1, func() error { return c.RevokeKey(ctx, key.ID) }},
	} {
		before, cuts := entries(), way.cuts.Load()
		c.Close() // the cutter sees a connection's first request
		if way.request.Store(change.request); change.request == 0 {
			way.answers.Store(true)
		}
		err := change.call()
		after := entries()
		if err != nil || way.cuts.Load() != cuts+1 || len(after) != len(before)+change.effects {
			t.Errorf("%s: %v; %d cuts; %d entries in the audit log, %d before: %q", change.name, err, way.cuts.Load()-cuts, len(after), len(before), after[:len(after)-len(before)])
		}
	}
	if list, err := plain.Keys(ctx); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	oneVersionEach(t, ctx, plain)
}

// oneVersionEach looks at what is left of it all.
func oneVersionEach(t *testing.T, ctx context.Context, c *client.Client) {
	t.Helper()
	for path, want := range map[object.Path]int{"/a": 4, "/f2": 1} {
		n := 0
		for _, err := range c.Versions(ctx, "www", path) {
			ok(t, err)
			n++
		}
		if n != want {
			t.Errorf("%s has %d versions, want %d", path, n, want)
		}
	}
}
