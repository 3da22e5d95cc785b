package keys

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func (k *console) login(t *testing.T, key string, head ...string) (cookie, csrf string) {
	t.Helper()
	res := k.ask("POST", "/session", `{"key":"`+key+`"}`, append([]string{"Content-Type", "application/json"}, head...)...)
	if res.StatusCode != 200 || len(res.Cookies()) != 1 {
		t.Fatalf("log-in: %s %v", res.Status, res.Cookies())
	}
	var a sessionAnswer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || a.CSRF == "" {
		t.Fatal(a, err)
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge != 12*3600 || c.Domain != "" {
		t.Fatalf("cookie %+v", c)
	}
	return c.Name + "=" + c.Value, a.CSRF
}

func TestSession(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	cookie, csrf := k.login(t, key)
	const path = "/api/v1/sites/www/files"
	for _, tc := range []struct {
		name, method, target string
		head                 []string
		want                 int
	}{
		{"reading", "GET", path, nil, 200},
		{"writing without a token", "POST", path, nil, 403},
		{"writing with the token in the header", "POST", path, []string{"X-CSRF-Token", csrf}, 200},
		{"writing with the token in the query", "POST", path + "?csrf=" + csrf, nil, 200},
		{"writing with a wrong token", "POST", path, []string{"X-CSRF-Token", csrf[1:] + "A"}, 403},
		{"deleting without a token", "DELETE", path + "/a", nil, 403},
		{"a page elsewhere that knows the token", "POST", path, []string{"X-CSRF-Token", csrf, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"a changed cookie", "GET", path, []string{"Cookie", cookie[:len(cookie)-1] + "_"}, 401},
		{"half a cookie", "GET", path, []string{"Cookie", cookie[:40]}, 401},
		{"an empty cookie", "GET", path, []string{"Cookie", "perigee_session=."}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := k.ask(tc.method, tc.target, "x", append([]string{"Cookie", cookie}, tc.head...)...)
			if res.StatusCode != tc.want {
				t.Fatal(res.Status)
			}
		})
	}
}

func TestTokensBelongToTheirSession(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	_, other := k.login(t, key)
	cookie, _ := k.login(t, key)
	if res := k.ask("POST", "/x", "", "Cookie", cookie, "X-CSRF-Token", other); res.StatusCode != 403 {
		t.Fatal(res.Status)
	}
}

func TestTheTokenDoesNotTravelOn(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	cookie, csrf := k.login(t, key)
	k.ask("POST", "/f?a=%20b&csrf="+csrf+"&c", "", "Cookie", cookie)
	if k.lastURL != "/f?a=%20b&c /f?a=%20b&c" {
		t.Fatal(k.lastURL)
	}
}

func TestUploadsAreNotReadBeforeTheTokenIsChecked(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	cookie, _ := k.login(t, key)
	body := &counting{}
	r := httptest.NewRequest("POST", "/files", body)
	r.Header.Set("Cookie", cookie)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, r)
	if w.Code != 403 || body.n != 0 {
		t.Fatalf("%d, %d bytes read", w.Code, body.n)
	}
}

type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) { c.n += len(p); return len(p), nil }

func TestSessionsEnd(t *testing.T) {
	alive := func(k *console, cookie string) bool {
		return k.ask("GET", "/x", "", "Cookie", cookie).StatusCode == 200
	}
	t.Run("by time", func(t *testing.T) {
		k, key := keyedConsole(t, consoleAddr, "", ScopeRead)
		cookie, _ := k.login(t, key)
		k.clock.advance(12*time.Hour - time.Second)
		if !alive(k, cookie) {
			t.Fatal("ended early")
		}
		k.clock.advance(time.Second)
		if alive(k, cookie) {
			t.Fatal("outlived its time")
		}
	})
	t.Run("by logging out", func(t *testing.T) {
		k, key := keyedConsole(t, consoleAddr, "", ScopeRead)
		cookie, csrf := k.login(t, key)
		if res := k.ask("POST", "/session/logout", "", "Cookie", cookie); res.StatusCode != 403 {
			t.Fatalf("logged out without a token: %s", res.Status)
		}
		res := k.ask("DELETE", "/session", "", "Cookie", cookie, "X-CSRF-Token", csrf)
		if res.StatusCode != 204 || res.Cookies()[0].MaxAge >= 0 {
			t.Fatal(res.Status, res.Cookies())
		}
		if alive(k, cookie) {
			t.Fatal("the cookie still works after logging out")
		}
	})
	t.Run("with their key", func(t *testing.T) {
		k, key := keyedConsole(t, consoleAddr, "", ScopeRead)
		cookie, _ := k.login(t, key)
		if err := k.ring.Revoke(t.Context(), key[3:13]); err != nil {
			t.Fatal(err)
		}
		if alive(k, cookie) {
			t.Fatal("the session outlived its key")
		}
	})
	t.Run("not with the process", func(t *testing.T) {
		k, key := keyedConsole(t, consoleAddr, "", ScopeRead)
		cookie, _ := k.login(t, key)
		if !alive(newConsole(t, consoleAddr, "", k.ring, k.clock), cookie) {
			t.Fatal("a restart with the same session key ended the session")
		}
	})
}

func TestSecureCookieBehindHTTPS(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "https://cdn.example", ScopePublish)
	res := k.ask("POST", "/session", "key="+key, "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://cdn.example")
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if c := res.Cookies()[0]; !c.Secure || c.Name != "__Host-perigee_session" {
		t.Fatalf("%+v", c)
	}
}

func TestLoginOfAPageWithoutScripts(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	form := func(next, key string) *http.Response {
		return k.ask("POST", "/session", url.Values{"key": {key}, "next": {next}}.Encode(),
			"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html,*/*")
	}
	for next, want := range map[string]string{
		"/files?x=1": "/files?x=1", "": "/", "https://evil.example/": "/", "//evil.example": "/", "/\\evil.example": "/", "/\t/evil.example": "/",
	} {
		res := form(next, key)
		if res.StatusCode != 303 || res.Header.Get("Location") != want || len(res.Cookies()) != 1 {
			t.Errorf("next %q: %s to %q", next, res.Status, res.Header.Get("Location"))
		}
	}
	if res := form("", key+"x"); res.StatusCode != 303 || res.Header.Get("Location") != "/login?failed=key-refused" || len(res.Cookies()) != 0 {
		t.Errorf("wrong key: %s to %q", res.Status, res.Header.Get("Location"))
	}
	res := k.ask("GET", "/files?x=1", "", "Accept", "text/html")
	if res.StatusCode != 303 || res.Header.Get("Location") != "/login?next=%2Ffiles%3Fx%3D1" {
		t.Errorf("stranger: %s to %q", res.Status, res.Header.Get("Location"))
	}
	if res := k.ask("GET", "/login", "", "Accept", "text/html"); res.StatusCode != 200 {
		t.Errorf("log-in page: %s", res.Status)
	}
	if res := k.ask("GET", "/api/v1/fleet", "", "Accept", "text/html"); res.StatusCode != 401 {
		t.Errorf("API: %s", res.Status)
	}
}

func TestLoginRefuses(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	for _, tc := range []struct {
		name, body string
		head       []string
		want       int
	}{
		{"another page's form", "key=" + key, []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example"}, 403},
		{"no key", "key=", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400},
		{"bad JSON", "{", []string{"Content-Type", "application/json"}, 400},
		{"no type", key, nil, 400},
		{"too long", "key=" + strings.Repeat("x", 1<<20), []string{"Content-Type", "application/x-www-form-urlencoded"}, 400},
	} {
		if res := k.ask("POST", "/session", tc.body, tc.head...); res.StatusCode != tc.want || len(res.Cookies()) != 0 {
			t.Errorf("%s: %s", tc.name, res.Status)
		}
	}
	if res := k.ask("PATCH", "/session", "", "Authorization", "Bearer "+key); res.StatusCode != 405 {
		t.Errorf("PATCH: %s", res.Status)
	}
}

func TestFailedLoginsAreLimited(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	try := func(key, remote string) int {
		return k.ask("POST", "/session", `{"key":"`+key+`"}`, "Content-Type", "application/json", "Remote", remote).StatusCode
	}
	for i := range loginFailures {
		if got := try("wrong", "[2001:db8::1]:1"); got != 401 {
			t.Fatalf("try %d: %d", i, got)
		}
	}
	if got := try(key, "[2001:db8::ffff]:1"); got != 429 {
		t.Fatalf("the same /64 went on guessing: %d", got)
	}
	if got := try(key, "192.0.2.1:1"); got != 200 {
		t.Fatalf("another network suffers: %d", got)
	}
	k.clock.advance(loginWindow)
	if got := try(key, "[2001:db8::1]:1"); got != 200 {
		t.Fatalf("after a minute: %d", got)
	}
	if !strings.Contains(k.log.String(), "log-in refused") || strings.Contains(k.log.String(), key) {
		t.Fatal(k.log.String())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopeRead)
	stored, _ := k.ring.find(key[3:13])
	for range maxEnded + 10 {
		_, tk := k.sessions.issue(stored)
		k.sessions.end(tk)
	}
	if n := len(k.sessions.ended); n > maxEnded {
		t.Errorf("%d ended sessions remembered", n)
	}
	ip := remoteIP(&http.Request{RemoteAddr: "10.0.0.0:1"})
	for range loginNetworks + 10 {
		k.limiter.failed(ip)
		ip = ip.Next()
	}
	if n := len(k.limiter.seen); n > loginNetworks {
		t.Errorf("%d networks remembered", n)
	}
}

func FuzzSessionCookie(f *testing.F) {
	k := sessions{key: bytes.Repeat([]byte{1}, SessionKeyLen), last: time.Hour, clock: newHandClock(), ended: map[string]time.Time{}}
	r, err := Open(Config{Env: []string{strings.Repeat("e", MinEnvKey)}})
	if err != nil {
		f.Fatal(err)
	}
	// issue would draw another nonce in each fuzzing process, and one's good cookie would be the other's forgery.
	owner := r.List()[0]
	payload := b64.EncodeToString([]byte(`{"k":"` + owner.ID + `","n":"nonce","x":32503680000}`))
	good := payload + "." + k.mac("session", payload, owner.Hash)
	if _, _, err := k.open(good, r); err != nil {
		f.Fatal("a good cookie is refused")
	}
	f.Add(good)
	f.Add("e30.")
	f.Add(".")
	f.Fuzz(func(t *testing.T, v string) {
		if _, _, err := k.open(v, r); err == nil && v != good {
			t.Fatalf("forged: %q", v)
		}
	})
}
