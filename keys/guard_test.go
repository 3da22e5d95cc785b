package keys

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// console is a guarded server that says who came in, and notes what it was asked.
type console struct {
	*Guard
	ring    *Ring
	clock   *handClock
	handler http.Handler
	reached int
	lastURL string
	log     bytes.Buffer
}

const consoleAddr = "127.0.0.1:8080"

func newConsole(t *testing.T, listen, public string, ring *Ring, c *handClock) *console {
	t.Helper()
	k := &console{ring: ring, clock: c}
	g, err := NewGuard(GuardConfig{
		Ring: ring, Listen: listen, PublicURL: public, Clock: c, LoginPage: "/login",
		SessionKey: bytes.Repeat([]byte{7}, SessionKeyLen),
		Public:     func(r *http.Request) bool { return r.URL.Path == "/login" },
		Log:        slog.New(slog.NewTextHandler(&k.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.Guard = g
	k.handler = g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.reached++
		k.lastURL = r.RequestURI + " " + r.URL.String()
		id, _ := FromContext(r.Context())
		io.WriteString(w, id.ID+" "+CSRF(r.Context()))
	}))
	return k
}

func keylessConsole(t *testing.T) *console {
	c := newHandClock()
	return newConsole(t, consoleAddr, "", openRing(t, Config{File: filepath.Join(t.TempDir(), "keys.json"), Clock: c}), c)
}

func keyedConsole(t *testing.T, listen, public string, scopes ...Scope) (*console, string) {
	c := newHandClock()
	r := openRing(t, Config{File: filepath.Join(t.TempDir(), "keys.json"), Clock: c})
	key, _ := create(t, r, scopes...)
	return newConsole(t, listen, public, r, c), key
}

// ask sends a request; head is pairs of header names and values, of which Host and Remote are the request's own.
func (k *console) ask(method, target, body string, head ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = consoleAddr, "127.0.0.1:54321"
	for i := 0; i < len(head); i += 2 {
		switch head[i] {
		case "Host":
			r.Host = head[i+1]
		case "Remote":
			r.RemoteAddr = head[i+1]
		default:
			r.Header.Set(head[i], head[i+1])
		}
	}
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, r)
	return w.Result()
}

func TestKeylessMode(t *testing.T) {
	for _, tc := range []struct {
		name   string
		method string
		head   []string
		want   int
	}{
		{"a tool", "PUT", nil, 200},
		{"a tool by name", "PUT", []string{"Host", "localhost:8080"}, 200},
		{"a tool over IPv6", "PUT", []string{"Host", "[::1]:8080", "Remote", "[::1]:4711"}, 200},
		{"a tool, upper case", "PUT", []string{"Host", "LocalHost:8080"}, 200},
		{"a tool with a needless key", "GET", []string{"Authorization", "Bearer pk_x"}, 200},
		{"the console's page", "POST", []string{"Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-origin"}, 200},
		{"the console's page, old browser", "POST", []string{"Origin", "http://127.0.0.1:8080"}, 200},
		{"a link from elsewhere", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200},
		{"a cross-site form", "POST", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"a cross-site form, old browser", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"a sandboxed form", "POST", []string{"Origin", "null"}, 403},
		{"a page of an edge", "POST", []string{"Origin", "http://www.perigee.test:8100", "Sec-Fetch-Site", "cross-site"}, 403},
		{"a page of an edge by address", "DELETE", []string{"Origin", "http://127.0.1.1:8100"}, 403},
		{"a page of another port", "POST", []string{"Origin", "http://127.0.0.1:8100", "Sec-Fetch-Site", "same-site"}, 403},
		{"a page of another port, old browser", "POST", []string{"Origin", "http://127.0.0.1:8100"}, 403},
		{"a rebound name", "GET", []string{"Host", "evil.example:8080", "Sec-Fetch-Site", "same-origin"}, 403},
		{"a rebound name, writing", "POST", []string{"Host", "evil.example:8080", "Origin", "http://evil.example:8080", "Sec-Fetch-Site", "same-origin"}, 403},
		{"the edge's name", "GET", []string{"Host", "www.perigee.test:8100"}, 403},
		{"a loopback name without the port", "GET", []string{"Host", "localhost"}, 403},
		{"another port", "GET", []string{"Host", "127.0.0.1:8100"}, 403},
		{"no host", "GET", []string{"Host", ""}, 403},
		{"a host with a tail", "GET", []string{"Host", "127.0.0.1:8080.evil.example"}, 403},
		{"another machine", "GET", []string{"Remote", "192.0.2.7:1234"}, 403},
		{"no address", "GET", []string{"Remote", "@"}, 403},
		{"a proxy that keeps our Host", "GET", []string{"X-Forwarded-For", "192.0.2.7"}, 403},
		{"a proxy, RFC 7239", "GET", []string{"Forwarded", "for=192.0.2.7"}, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keylessConsole(t)
			res := k.ask(tc.method, "/api/v1/sites/www/files/a", "x", tc.head...)
			if res.StatusCode != tc.want || (k.reached == 1) != (tc.want == 200) {
				t.Fatalf("%s, reached %d", res.Status, k.reached)
			}
			if tc.want == 403 {
				checkProblem(t, res)
			}
		})
	}
}

func checkProblem(t *testing.T, res *http.Response) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
		RequestID           string `json:"request_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	if res.Header.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(p.Type, "/problems/") ||
		p.Status != res.StatusCode || p.Title == "" || len(p.Detail) < 20 || p.RequestID == "" || p.RequestID != res.Header.Get("X-Request-Id") {
		t.Fatalf("%+v %v", p, res.Header)
	}
}

func TestTheFirstKeyEndsKeylessModeForGood(t *testing.T) {
	k := keylessConsole(t)
	key, stored := create(t, k.ring, ScopeAdmin)
	if res := k.ask("GET", "/api/v1/fleet", ""); res.StatusCode != 401 {
		t.Fatal(res.Status)
	}
	if res := k.ask("GET", "/api/v1/fleet", "", "Authorization", "Bearer "+key); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if err := k.ring.Revoke(t.Context(), stored.ID); err != nil {
		t.Fatal(err)
	}
	if res := k.ask("GET", "/api/v1/fleet", ""); res.StatusCode != 401 {
		t.Fatalf("revoking the last key opened the door: %s", res.Status)
	}
}

func TestNewGuardRefusesBeyondLoopbackWithoutKeys(t *testing.T) {
	_, err := NewGuard(GuardConfig{Ring: openRing(t, Config{}), Listen: "0.0.0.0:8080"})
	if err == nil || !strings.Contains(err.Error(), "perigee keys create") {
		t.Fatal(err)
	}
}

func TestBearer(t *testing.T) {
	k, key := keyedConsole(t, "0.0.0.0:8080", "", ScopePublish)
	for _, tc := range []struct {
		head []string
		want int
	}{
		{[]string{"Authorization", "Bearer " + key}, 200},
		{[]string{"Authorization", "bearer  " + key}, 200},
		{[]string{"Authorization", "Bearer " + key, "Host", "cdn.example", "Remote", "192.0.2.1:5", "Origin", "https://elsewhere.example"}, 200}, // no browser adds this by itself
		{nil, 401},
		{[]string{"Authorization", "Bearer " + key + "x"}, 401},
		{[]string{"Authorization", "Basic " + key}, 401},
		{[]string{"Authorization", key}, 401},
		{[]string{"Authorization", "Bearer"}, 401},
	} {
		res := k.ask("PUT", "/api/v1/sites/www/files/a", "x", tc.head...)
		if res.StatusCode != tc.want {
			t.Errorf("%v: %s", tc.head, res.Status)
		}
		if tc.want == 401 {
			checkProblem(t, res)
			if res.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
		}
	}
	if strings.Contains(k.log.String(), key) {
		t.Error("a key was logged")
	}
}

func TestRequire(t *testing.T) {
	k, key := keyedConsole(t, consoleAddr, "", ScopePublish)
	for s, want := range map[Scope]int{ScopeRead: 200, ScopePublish: 200, ScopePurge: 403, ScopeAdmin: 403} {
		k.handler = k.Wrap(Require(s, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		res := k.ask("GET", "/x", "", "Authorization", "Bearer "+key)
		if res.StatusCode != want {
			t.Errorf("%s: %s", s, res.Status)
		}
	}
	w := httptest.NewRecorder()
	Require(ScopeRead, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 401 {
		t.Errorf("a route outside the guard let a stranger in: %d", w.Code)
	}
}

func TestWhoAmI(t *testing.T) {
	k := keylessConsole(t)
	var a sessionAnswer
	if err := json.NewDecoder(k.ask("GET", "/session", "").Body).Decode(&a); err != nil || !a.Keyless || a.ID != "local" {
		t.Fatal(a, err)
	}
	if res := k.ask("GET", "/session", "", "Host", "evil.example"); res.StatusCode != 403 {
		t.Fatal(res.Status)
	}
	k2, key := keyedConsole(t, consoleAddr, "", ScopePurge)
	cookie, csrf := k2.login(t, key)
	a = sessionAnswer{}
	if err := json.NewDecoder(k2.ask("GET", "/session", "", "Cookie", cookie).Body).Decode(&a); err != nil ||
		a.Keyless || a.CSRF != csrf || a.Expires.Sub(k2.clock.Now()) != 12*time.Hour || len(a.Scopes) != 1 {
		t.Fatal(a, err)
	}
	if res := k2.ask("GET", "/session", ""); res.StatusCode != 401 {
		t.Fatal(res.Status)
	}
}
