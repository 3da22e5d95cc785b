package update

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/geo/geotest"
	"perigee/origin/site"
)

// world is a database that knows enough to replace the table in the binary, with its canaries in one country.
func world(t testing.TB, country string, day int64) []byte {
	t.Helper()
	r := geotest.Records{}
	for i := range 128 {
		r[fmt.Sprintf("%d.0.0.0/7", 2*i)] = geotest.Nested("DE", "", 50, 8)
	}
	r["2000::/3"] = geotest.Nested("DE", "", 50, 8)
	r["8.8.8.0/24"] = geotest.Nested(country, "", 50, 8)
	return geotest.Bytes(t, "GeoLite2-City", geotest.Epoch+86400*day, r)
}

// rig is an Updater, a server that it asks, and a directory for its files.
type rig struct {
	*testing.T
	*Updater
	server *httptest.Server
	dir    string
	logs   bytes.Buffer

	mu       sync.Mutex
	handler  http.HandlerFunc
	requests []*http.Request
}

func newRig(t *testing.T, change func(*rig, *Config)) *rig {
	t.Helper()
	r := &rig{T: t, dir: t.TempDir()}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, q)
		h := r.handler
		r.mu.Unlock()
		h(w, q)
	}))
	t.Cleanup(r.server.Close)
	db, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Sources: []Source{{URL: r.server.URL + "/geo.mmdb", File: r.file("geo.mmdb")}}, Holder: geo.NewHolder(db), Every: 24 * time.Hour, MaxSize: 8 << 20,
		Transport: site.NewTransport(site.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Clock: clock.System}),
		Clock:     clock.System, Log: slog.New(slog.NewTextHandler(&r.logs, nil)),
	}
	if change != nil {
		change(r, &c)
	}
	if r.Updater, err = New(c); err != nil {
		t.Fatal(err)
	}
	return r
}

var embedded = sync.OnceValues(geo.Embedded)

func (r *rig) file(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) serve(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handler = h
}

// content serves data with an ETag.
func content(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(data))))
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(data))
	}
}

// once runs and wants a result; the error must say what is said.
func (r *rig) once(want Result, says string) {
	r.Helper()
	got, err := r.Once(r.Context())
	if got != want || (err != nil) != (want == Failed) || err != nil && !strings.Contains(err.Error(), says) {
		r.Fatalf("%s, %v; want %s, %q", got, err, want, says)
	}
	if left, _ := filepath.Glob(r.file(".*")); len(left) > 0 {
		r.Errorf("left behind: %v", left)
	}
}

// country is where the data in use has 8.8.8.8.
func (r *rig) country() string {
	p, _ := r.Holder.Current().Lookup(netip.MustParseAddr("8.8.8.8"))
	return p.Country
}

func (r *rig) is(file string, want []byte) {
	r.Helper()
	if got, err := os.ReadFile(r.file(file)); err != nil || !bytes.Equal(got, want) {
		r.Errorf("%s has %d bytes, want %d; %v", file, len(got), len(want), err)
	}
}

func TestUpdate(t *testing.T) {
	r := newRig(t, nil)
	first, second := world(t, "NL", 0), world(t, "SE", 1)
	r.serve(content(first))
	r.once(Updated, "")
	r.is("geo.mmdb", first)
	if r.country() != "NL" || r.Holder.Current().Passport().Files[0].Name != "geo.mmdb" {
		t.Errorf("%+v", r.Holder.Current().Passport())
	}
	used := r.Holder.Current()
	r.once(Unchanged, "")
	if q := r.requests[len(r.requests)-1]; q.Header.Get("If-None-Match") == "" || r.Holder.Current() != used {
		t.Error("the second request had no condition, or its answer was taken for news")
	}
	r.serve(content(zipped(t, archive(t, entry{name: "x/LICENSE", data: "terms"}, entry{name: "x/GeoLite2-City.mmdb", data: string(second)}))))
	r.once(Updated, "")
	r.is("geo.mmdb", second)
	r.is("geo.mmdb.previous", first)
	if r.country() != "SE" {
		t.Error("the new data is in place and not in use")
	}
	// What was fetched is not what lies there any more: the source is asked without a condition.
	if err := os.WriteFile(r.file("geo.mmdb"), first, 0o600); err != nil {
		t.Fatal(err)
	}
	r.once(Updated, "")
	if q := r.requests[len(r.requests)-1]; q.Header.Get("If-None-Match") != "" {
		t.Error("a file that was exchanged was taken for the one that was fetched")
	}
	r.is("geo.mmdb", second)
	if c := r.Counters(); c.Updated.Load() != 3 || c.Unchanged.Load() != 1 || c.Failed.Load() != 0 || c.Succeeded.Load() == 0 {
		t.Errorf("%d updated, %d unchanged, %d failed", c.Updated.Load(), c.Unchanged.Load(), c.Failed.Load())
	}
}

// TestUpdateByLastModified: a server without ETags.
func TestUpdateByLastModified(t *testing.T) {
	r := newRig(t, nil)
	data := world(t, "NL", 0)
	r.serve(func(w http.ResponseWriter, q *http.Request) {
		http.ServeContent(w, q, "", time.Unix(geotest.Epoch, 0), bytes.NewReader(data))
	})
	r.once(Updated, "")
	r.once(Unchanged, "")
	if q := r.requests[1]; q.Header.Get("If-Modified-Since") == "" {
		t.Errorf("%v", q.Header)
	}
}

// TestUpdateFails: whatever the server does wrong, the data in use stays in place and in use.
func TestUpdateFails(t *testing.T) {
	good, next := world(t, "NL", 5), world(t, "SE", 6)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
	}
	for _, x := range []struct {
		name, says string
		handler    http.HandlerFunc
	}{
		{"unknown key", "license_key", status(401)},
		{"not found", "check the URL", status(404)},
		{"too often", "raise every", status(429)},
		{"broken", "500", status(500)},
		{"not modified without having been asked", "304", status(304)},
		{"a page", "is no geo data", content([]byte("<html>Please log in</html>"))},
		{"cut gzip", "unexpected EOF", content(zipped(t, next)[:200])},
		{"cut body", "unexpected EOF", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(next)))
			w.Write(next[:len(next)/2])
		}},
		{"cut file", "is no geo data", content(next[:len(next)-100])},
		{"damaged file", "", content(append(bytes.Repeat([]byte{0x55}, 200), next[200:]...))},
		{"too large", "larger than allowed", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99999999999") }},
		{"too large without saying so", "larger than allowed", func(w http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}},
		{"bomb", "larger than allowed", content(zipped(t, make([]byte, 9<<20)))},
		{"wrong MD5", "damaged on its way", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Database-MD5", strings.Repeat("0", 32))
			w.Write(next)
		}},
		{"older", "it was built on 2023-11-14", content(world(t, "SE", 0))},
		{"owners only", "does not say where addresses are", content(geotest.Bytes(t, "GeoLite2-ASN", geotest.Epoch, geotest.Records{"8.0.0.0/8": geotest.Owner(1, "x")}))},
		{"hardly anything", "does not know", content(geotest.Bytes(t, "GeoLite2-City", geotest.Epoch+86400*9, geotest.Records{"8.8.8.0/24": geotest.Nested("SE", "", 50, 8)}))},
		{"redirects to itself", "redirects more than", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, q.URL.Path, http.StatusFound) }},
		{"redirects elsewhere", "away from https", func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "ftp://127.0.0.1/", http.StatusFound)
		}},
		{"hangs up", "EOF", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.serve(content(good))
			r.once(Updated, "")
			used := r.Holder.Current()
			os.Remove(stateFile(r.file("geo.mmdb")))
			r.serve(x.handler)
			r.once(Failed, x.says)
			r.is("geo.mmdb", good)
			if r.Holder.Current() != used || r.Counters().Failed.Load() != 1 {
				t.Error("the data in use was exchanged, or the failure not counted")
			}
			r.serve(content(next))
			r.once(Updated, "")
		})
	}
}

// TestUpdateRefusesPrivateAddresses: neither the URL nor a redirect leads to where nothing was allowed.
func TestUpdateRefusesPrivateAddresses(t *testing.T) {
	r := newRig(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("this system has no second loopback address")
	}
	asked := make(chan struct{}, 1)
	inside := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	inside.Listener.Close()
	inside.Listener = ln
	inside.Start()
	defer inside.Close()
	r.serve(func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, inside.URL, http.StatusFound) })
	if _, err := r.Once(t.Context()); !errors.Is(err, site.ErrForbidden) {
		t.Errorf("a redirect to %s: %v", inside.URL, err)
	}
	direct := newRig(t, func(_ *rig, c *Config) { c.Sources[0].URL = inside.URL + "/geo.mmdb" })
	if _, err := direct.Once(t.Context()); !errors.Is(err, site.ErrForbidden) {
		t.Errorf("%s: %v", inside.URL, err)
	}
	if len(asked) > 0 {
		t.Error("it was asked")
	}
}

// TestUpdateMaxMind speaks MaxMind's protocol: Basic authentication, the MD5 of the file at hand in the URL, the one of the new file in the answer.
func TestUpdateMaxMind(t *testing.T) {
	r := newRig(t, func(r *rig, c *Config) {
		c.Sources[0].URL = r.server.URL + "/geoip/databases/GeoLite2-City/update?db_md5={md5}"
		c.Account, c.LicenseKey = "12345", "secret"
	})
	newest := world(t, "NL", 0)
	r.serve(func(w http.ResponseWriter, q *http.Request) {
		if user, pass, _ := q.BasicAuth(); user != "12345" || pass != "secret" || q.URL.Path != "/geoip/databases/GeoLite2-City/update" {
			http.Error(w, "Invalid license key", http.StatusUnauthorized)
			return
		}
		sum := fmt.Sprintf("%x", md5.Sum(newest))
		if q.FormValue("db_md5") == sum {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("X-Database-MD5", sum)
		w.Write(zipped(t, newest))
	})
	r.once(Updated, "")
	if q := r.requests[0].FormValue("db_md5"); q != noMD5 {
		t.Errorf("without a file it asks with the MD5 %s", q)
	}
	r.once(Unchanged, "")
	newest = world(t, "SE", 1)
	r.once(Updated, "")
	r.is("geo.mmdb", newest)
	// Another process has put the newest file there.
	newest = world(t, "NO", 2)
	if err := os.WriteFile(r.file("geo.mmdb"), newest, 0o600); err != nil {
		t.Fatal(err)
	}
	r.once(Unchanged, "")
	if t1, err := parse(Source{URL: "maxmind:GeoLite2-City", File: "x"}); err != nil || expand(t1.pattern, time.Time{}, "") != "https://updates.maxmind.com/geoip/databases/GeoLite2-City/update?db_md5="+noMD5 {
		t.Errorf("%+v, %v", t1, err)
	}
}

// TestCredentialsStayWithTheirHost: a redirect, a checksum elsewhere and another publisher get none.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	data := world(t, "NL", 0)
	var mu sync.Mutex
	seen := map[string]bool{}
	note := func(q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _, ok := q.BasicAuth()
		seen[q.URL.Path] = ok
		if q.Header.Get("Referer") != "" {
			t.Errorf("%s: Referer %s", q.URL, q.Header.Get("Referer"))
		}
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		note(q)
		if q.URL.Path == "/sums" {
			fmt.Fprintf(w, "%x  geo.mmdb\n", sha256.Sum256(data))
			return
		}
		w.Write(data)
	}))
	defer other.Close()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	r := newRig(t, func(r *rig, c *Config) {
		c.Sources[0].URL += "?license_key=secret"
		c.Account, c.LicenseKey = "12345", "secret"
		c.Checksum = elsewhere + "/sums"
	})
	r.serve(func(w http.ResponseWriter, q *http.Request) {
		note(q)
		http.Redirect(w, q, elsewhere+"/redirected", http.StatusFound)
	})
	r.once(Updated, "")
	if !seen["/geo.mmdb"] || seen["/redirected"] || seen["/sums"] || len(seen) != 3 {
		t.Errorf("credentials went to %v", seen)
	}
	mirror, err := New(Config{
		Sources: []Source{{URL: "maxmind:GeoLite2-City", File: "a"}, {URL: "https://download.db-ip.com/x", File: "b"}},
		Account: "12345", LicenseKey: "secret", MaxSize: 1, Every: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		req := httptest.NewRequest("GET", expand(mirror.targets[i].pattern, time.Time{}, ""), nil)
		if got := mirror.mayKnow(&mirror.targets[i], req.URL); got != want {
			t.Errorf("%s: credentials %v, want %v", req.URL, got, want)
		}
	}
}

func TestUpdateChecksums(t *testing.T) {
	data := world(t, "NL", 0)
	packed := zipped(t, data)
	for _, x := range []struct{ name, sums, says string }{
		{"SHA-256 of the download", fmt.Sprintf("%x  geo.mmdb.gz\n", sha256.Sum256(packed)), ""},
		{"MD5 of the file in it", fmt.Sprintf("%X", md5.Sum(data)), ""},
		{"a list", fmt.Sprintf("%x  other.gz\n%x *geo.mmdb\n", sha256.Sum256(nil), sha256.Sum256(packed)), ""},
		{"wrong", fmt.Sprintf("%x  geo.mmdb", sha256.Sum256(nil)), "damaged or exchanged"},
		{"none", "Not found", "no MD5 and no SHA-256"},
		{"endless", strings.Repeat("x", maxSums+1), "larger than allowed"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, func(_ *rig, c *Config) { c.Checksum = "{url}.sha256" })
			r.serve(func(w http.ResponseWriter, q *http.Request) {
				if strings.HasSuffix(q.URL.Path, ".sha256") {
					fmt.Fprint(w, x.sums)
					return
				}
				w.Write(packed)
			})
			if x.says == "" {
				r.once(Updated, "")
			} else {
				r.once(Failed, x.says)
			}
		})
	}
}

// TestUpdateByMonth: DB-IP's files have the month in their names, and this month's may not be out yet.
func TestUpdateByMonth(t *testing.T) {
	r := newRig(t, func(r *rig, c *Config) {
		c.Sources[0].URL = r.server.URL + "/dbip-city-lite-{yyyy}-{mm}.mmdb.gz"
		c.Clock = fixed{clock.System, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	})
	data := world(t, "NL", 0)
	r.serve(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/dbip-city-lite-2025-12.mmdb.gz" {
			http.NotFound(w, q)
			return
		}
		content(zipped(t, data))(w, q)
	})
	r.once(Updated, "")
	r.once(Unchanged, "")
	if q := r.requests[2].URL.Path; len(r.requests) != 4 || q != "/dbip-city-lite-2026-01.mmdb.gz" {
		t.Errorf("%d requests, the third for %s", len(r.requests), q)
	}
}

// fixed is a clock that stands still.
type fixed struct {
	clock.Clock
	now time.Time
}

func (f fixed) Now() time.Time { return f.now }

// TestUpdateSeveralFiles: places and owners from two sources, one of them a local file. A set of which one part cannot be had changes nothing.
func TestUpdateSeveralFiles(t *testing.T) {
	r := newRig(t, func(r *rig, c *Config) {
		c.Sources = []Source{{URL: r.server.URL + "/city.gz", File: r.file("city.mmdb")}, {URL: r.file("incoming"), File: r.file("asn.mmdb")}}
	})
	city := world(t, "NL", 0)
	r.serve(content(zipped(t, city)))
	r.once(Failed, "incoming")
	if _, err := os.Stat(r.file("city.mmdb")); err == nil {
		t.Error("half a set was put in place")
	}
	owners := func(asn uint32) []byte {
		return geotest.Bytes(t, "GeoLite2-ASN", geotest.Epoch, geotest.Records{"8.8.8.0/24": geotest.Owner(asn, "Google")})
	}
	if err := os.WriteFile(r.file("incoming"), zipped(t, owners(15169)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.once(Updated, "")
	asn := func() uint32 {
		p, _ := r.Holder.Current().Lookup(netip.MustParseAddr("8.8.8.8"))
		return p.ASN
	}
	if asn() != 15169 || r.country() != "NL" {
		t.Errorf("AS%d in %s", asn(), r.country())
	}
	r.once(Unchanged, "")
	if err := os.WriteFile(r.file("incoming"), owners(64512), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(r.file("incoming"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	r.once(Updated, "")
	if asn() != 64512 {
		t.Errorf("AS%d", asn())
	}
	r.is("city.mmdb", city)
	r.is("asn.mmdb.previous", owners(15169))
}

func TestUpdateHeedsTheVerdict(t *testing.T) {
	r := newRig(t, nil)
	data := world(t, "NL", 0)
	if err := (geo.Verdict{Reject: fmt.Sprintf("%x", sha256.Sum256(data))}).Write(r.file("geo.mmdb")); err != nil {
		t.Fatal(err)
	}
	r.serve(content(data))
	r.once(Failed, "rolled back")
}

func TestSweep(t *testing.T) {
	r := newRig(t, nil)
	stale, alive := r.file(".geo.mmdb.new-123"), r.file(".geo.mmdb.new-124")
	for _, dir := range []string{stale, alive} {
		if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(stale, time.Time{}, time.Now().Add(-2*staleAfter)); err != nil {
		t.Fatal(err)
	}
	r.sweep(&r.targets[0])
	if left, _ := filepath.Glob(r.file(".*")); len(left) != 1 || left[0] != alive {
		t.Errorf("left are %v", left)
	}
}

// TestInstall: all of several files, or none; those that were there are kept.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) string {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	is := func(name, want string) {
		t.Helper()
		if got, err := os.ReadFile(at(name)); string(got) != want {
			t.Errorf("%s holds %q, want %q; %v", name, got, want, err)
		}
	}
	to := []string{put("a", "a1"), at("b")}
	if err := Install([]string{put("new a", "a2"), at("none")}, to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	is("a", "a1")
	if err := Install([]string{at("new a"), put("new b", "b2")}, to); err != nil {
		t.Fatal(err)
	}
	is("a", "a2")
	is("b", "b2")
	is("a.previous", "a1")
	// Back, from the very file that is to be kept next.
	if err := Install([]string{geo.Previous(at("a"))}, to[:1]); err != nil {
		t.Fatal(err)
	}
	is("a", "a1")
	is("a.previous", "a2")
	if left, _ := filepath.Glob(at(".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestRun: at once, then once in Every and a tenth; after a failure sooner.
func TestRun(t *testing.T) {
	data := world(t, "NL", 0)
	dir := t.TempDir()
	db, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // over the next two
		var at []time.Duration
		fail := true
		start := time.Now()
		u, err := New(Config{
			Sources: []Source{{URL: "http://localhost/geo.mmdb", File: filepath.Join(dir, "geo.mmdb")}}, Holder: geo.NewHolder(db), Every: 24 * time.Hour, MaxSize: 1 << 20,
			Clock: clock.System, Log: slog.New(slog.DiscardHandler),
			Transport: trip(func(q *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(start))
				if fail {
					return nil, errors.New("no network")
				}
				w := httptest.NewRecorder()
				content(data)(w, q)
				return w.Result(), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { u.Run(ctx); close(done) }()
		time.Sleep(14 * time.Minute) // fails at once and after 5 minutes
		mu.Lock()
		fail = false
		mu.Unlock()
		time.Sleep(30 * time.Hour)
		synctest.Wait()
		cancel()
		<-done
		between := func(i int, least, most time.Duration) {
			t.Helper()
			if i >= len(at) || at[i] < least || at[i] > most {
				t.Errorf("requests at %v: number %d is not between %v and %v", at, i, least, most)
			}
		}
		between(0, 0, startSpread+1)
		between(1, 5*time.Minute, 6*time.Minute)
		between(2, 15*time.Minute, 18*time.Minute)
		between(3, 24*time.Hour, 27*time.Hour)
		if c := u.Counters(); c.Failed.Load() != 2 || c.Updated.Load() != 1 || c.Unchanged.Load() == 0 {
			t.Errorf("%d failed, %d updated, %d unchanged", c.Failed.Load(), c.Updated.Load(), c.Unchanged.Load())
		}
		if wait := u.due(); wait < 0 || wait > 24*time.Hour { // 0 when the jitter has put off the last request
			t.Errorf("a new start would wait for %v", wait)
		}
		if err := os.Remove(filepath.Join(dir, "geo.mmdb")); err != nil {
			t.Fatal(err)
		}
		if wait := u.due(); wait != 0 {
			t.Errorf("without its file a new start would wait for %v", wait)
		}
	})
}

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func TestNewRefuses(t *testing.T) {
	for _, x := range []struct{ url, says string }{
		{"", "write https://"}, {"geo.mmdb", "write https://"}, {"ftp://h/x", "write https://"}, {"https:///x", "write https://"}, {"https://u:p@h/x", "must not carry a password"},
		{"maxmind:", "GeoLite2-City"}, {"maxmind:a/b", "GeoLite2-City"}, {"http://h/x", "in the clear"}, {"file://host/x", "write https://"}, {"https://h/%zz", "no URL"},
	} {
		_, err := New(Config{Sources: []Source{{URL: x.url, File: "f"}}, Every: 1, MaxSize: 1, Account: "a", LicenseKey: "k"})
		if err == nil || !strings.Contains(err.Error(), x.says) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v, want %q", x.url, err, x.says)
		}
	}
	if _, err := New(Config{Sources: []Source{{URL: "maxmind:GeoLite2-City", File: "f"}}, Every: 1, MaxSize: 1}); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("%v", err)
	}
}
