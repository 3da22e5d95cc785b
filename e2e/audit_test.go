package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/catalog"
	"perigee/client"
)

const envKey = "a-key-of-the-environment-for-tests-0123456789"

// order is a change that somebody asked for and, if it was answered, the entry that it must have.
type order struct {
	action         catalog.Action
	object, detail string
}

// auditRun orders changes of every kind from several clients at a time, until the system is killed under them.
type auditRun struct {
	t *testing.T
	s *System

	mu       sync.Mutex
	answered []order
	count    atomic.Int64
}

// ask sends a request and returns the answer; ok is false if it was refused, or if there was none.
func (r *auditRun) ask(ctx context.Context, method, path, body string, out any) bool {
	req, err := http.NewRequestWithContext(ctx, method, r.s.URL(path), strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+envKey)
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	a, err := do(http.DefaultClient, req)
	if err != nil || a.Status/100 != 2 {
		return false
	}
	return out == nil || json.Unmarshal(a.Body, out) == nil
}

func (r *auditRun) done(action catalog.Action, object, detail string) {
	r.mu.Lock()
	r.answered = append(r.answered, order{action, object, detail})
	r.mu.Unlock()
	r.count.Add(1)
}

// work makes changes one after the other until ctx ends.
func (r *auditRun) work(ctx context.Context, worker string) {
	for i := 0; ctx.Err() == nil; i++ {
		path := fmt.Sprintf("/%s/%d", worker, i)
		var u uploaded
		if r.ask(ctx, http.MethodPut, "/api/v1/sites/www/files"+path, path, &u) {
			r.done(catalog.FilePublished, path, "version "+u.Version)
		}
		if i%3 == 0 && r.ask(ctx, http.MethodDelete, "/api/v1/sites/www/files"+path, "", &u) {
			r.done(catalog.FileDeleted, path, "version "+u.Version)
		}
		var id struct{ ID string }
		if i%2 == 0 && r.ask(ctx, http.MethodPost, "/api/v1/sites/www/purge", `{"urls":["`+path+`"]}`, &id) {
			r.done(catalog.PurgeOrdered, id.ID, "")
		}
		if r.ask(ctx, http.MethodPost, "/api/v1/keys", `{"name":"`+worker+`"}`, &id) {
			r.done(catalog.KeyCreated, id.ID, "")
			if i%2 == 0 && r.ask(ctx, http.MethodDelete, "/api/v1/keys/"+id.ID, "", nil) {
				r.done(catalog.KeyRevoked, id.ID, "")
			}
		}
		if i%4 == 0 && r.ask(ctx, http.MethodPost, "/api/v1/sites", fmt.Sprintf(`{"site":"%s-%d"}`, worker, i), nil) {
			r.done(catalog.SiteCreated, fmt.Sprintf("%s-%d", worker, i), "")
		}
	}
}

// entries returns the audit log, the newest first.
func (r *auditRun) entries(c *client.Client) (all []client.AuditEntry) {
	r.t.Helper()
	for e, err := range c.Audit(within(r.t, long), "", "") {
		ok(r.t, err)
		all = append(all, e)
	}
	return all
}

// check compares the log with what was answered, and with what there is.
func (r *auditRun) check() {
	t := r.t
	t.Helper()
	c, err := client.New(client.Config{BaseURL: "http://" + r.s.API, Key: envKey})
	ok(t, err)
	defer c.Close()
	made, revoked := map[string]bool{}, map[string]bool{}
	of := map[order]int{}
	all := r.entries(c)
	for _, e := range all {
		if e.Outcome != catalog.OutcomeDone && e.Outcome != catalog.OutcomeRecovered {
			continue
		}
		o := order{catalog.Action(e.Action), e.Object, ""}
		switch o.action {
		case catalog.SiteCreated:
			o.object = e.Site
		case catalog.FilePublished, catalog.FileDeleted:
			o.detail = e.Detail
		case catalog.KeyCreated:
			made[e.Object] = true
		case catalog.KeyRevoked:
			revoked[e.Object] = true
		}
		of[o]++
	}
	for _, o := range r.answered {
		if of[o] != 1 {
			t.Errorf("answered %v, and the log has it %d times", o, of[o])
		}
	}
	keys, err := c.Keys(within(t, long))
	ok(t, err)
	have := map[string]bool{}
	for _, k := range keys {
		if k.Created.IsZero() {
			continue // of the environment
		}
		have[k.ID] = true
		if !made[k.ID] || revoked[k.ID] {
			t.Errorf("key %s is there; the log says made %v, revoked %v", k.ID, made[k.ID], revoked[k.ID])
		}
	}
	for id := range made {
		if have[id] == revoked[id] {
			t.Errorf("the log has made key %s, revoked %v; there %v", id, revoked[id], have[id])
		}
	}
	sites, err := c.Sites(within(t, long))
	ok(t, err)
	names := map[string]bool{}
	for _, s := range sites {
		names[string(s.Site)] = true
	}
	for o := range of {
		switch o.action {
		case catalog.SiteCreated:
			if !names[o.object] {
				t.Errorf("the log has made site %s, which is not there", o.object)
			}
		case catalog.PurgeOrdered:
			if !r.ask(within(t, long), http.MethodGet, "/api/v1/purges/"+o.object, "", nil) {
				t.Errorf("the log has purge %s, which is not there", o.object)
			}
		case catalog.FilePublished, catalog.FileDeleted:
			var list struct{ Versions []struct{ Version string } }
			if !r.ask(within(t, long), http.MethodGet, "/api/v1/sites/www/files"+o.object+"?versions", "", &list) {
				t.Errorf("the log has %v, whose path is not there", o)
				continue
			}
			found := false
			for _, v := range list.Versions {
				found = found || "version "+v.Version == o.detail
			}
			if !found {
				t.Errorf("the log has %v, whose version is not there", o)
			}
		}
	}
	t.Logf("%d answers, %d entries, %d keys", len(r.answered), len(all), len(have))
}

// TestKilledAuditLog: the system is killed again and again while changes are made. What was answered has its entry, once, and what an entry calls done
// is done.
func TestKilledAuditLog(t *testing.T) {
	for _, place := range []string{"file", "catalogue"} {
		t.Run(place, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			s := up(t, "api.keys="+place, "api.key="+envKey, "api.rate.requests=0")
			r := &auditRun{t: t, s: s}
			for cycle := range 3 {
				until := r.count.Load() + 20 + random.Int64N(40)
				ctx, cancel := context.WithCancel(t.Context())
				var workers sync.WaitGroup
				for w := range 4 {
					workers.Go(func() { r.work(ctx, fmt.Sprintf("c%dw%d", cycle, w)) })
				}
				eventually(t, "changes were answered", func() bool { return r.count.Load() >= until })
				ok(t, s.Kill(within(t, long)))
				cancel()
				workers.Wait()
				start(t, s)
			}
			r.check()
		})
	}
}

// TestOfflineKeysAreAudited: what is done to the keys on the machine, beside a running server, takes effect at once and is in its audit log.
func TestOfflineKeysAreAudited(t *testing.T) {
	s := up(t, "api.key="+envKey)
	s.Env = []string{"PERIGEE_KEY=" + envKey}
	out, err := s.Perigee(within(t, long), "keys", "create", "--offline", "--data", s.Dir, "--name", "by hand", "--json")
	ok(t, err)
	var k struct{ ID, Key string }
	ok(t, json.Unmarshal([]byte(out), &k))
	with := func(key string) int {
		req, err := http.NewRequestWithContext(within(t, long), http.MethodGet, s.URL("/api/v1/sites"), bytes.NewReader(nil))
		ok(t, err)
		req.Header.Set("Authorization", "Bearer "+key)
		a, err := do(http.DefaultClient, req)
		ok(t, err)
		return a.Status
	}
	eventually(t, "the key is good", func() bool { return with(k.Key) == 200 })
	eventually(t, "it is in the log", func() bool {
		out, err := s.Perigee(within(t, long), "audit", "--key", "offline")
		return err == nil && strings.Contains(out, "key.create") && strings.Contains(out, k.ID)
	})
	_, err = s.Perigee(within(t, long), "keys", "revoke", k.ID) // over the API
	ok(t, err)
	if status := with(k.Key); status != 401 {
		t.Errorf("revoked, and answered %d", status)
	}
}
