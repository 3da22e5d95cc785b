package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// driver sends requests that are described, and compares the answers with the description.
type driver struct {
	t    *testing.T
	s    *System
	spec *spec
	key  string
	// good and bad count the successes and the errors by operation.
	good, bad map[string]int
}

// request is one request of an operation.
type request struct {
	path   []string // values of the parameters in the path, in their order
	query  url.Values
	header map[string]string
	body   string
	key    string // in place of the driver's; "none" for none
}

// token is what a client has seen of some catalogue: with it every answer has to say what it has seen now.
var token = base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdef:1f"))

// call sends a request of an operation and checks that it is answered with status and as described.
func (d *driver) call(id string, status int, r request) Answer {
	d.t.Helper()
	a := d.send(id, r)
	if a.Status != status {
		d.t.Errorf("%s: %d, want %d: %.300s", id, a.Status, status, a.Body)
	}
	if err := d.spec.check(id, a); err != nil {
		d.t.Errorf("%s: %v", id, err)
	}
	if a.Status < 400 {
		d.good[id]++
	} else if r.key == "" || r.key == "none" || len(d.spec.operations[id].Problems) == 0 { // a refused key is nobody's own error
		d.bad[id]++
	}
	return a
}

func (d *driver) send(id string, r request) Answer {
	d.t.Helper()
	o := d.spec.operations[id]
	if o == nil {
		d.t.Fatalf("%s is not described", id)
	}
	path := o.path
	for _, v := range r.path {
		start, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		path = path[:start] + v + path[end+1:]
	}
	if strings.Contains(path, "{") {
		d.t.Fatalf("%s: %s lacks a parameter", id, path)
	}
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(within(d.t, long), o.method, d.s.URL(path), strings.NewReader(r.body))
	if err != nil {
		d.t.Fatal(err)
	}
	key := d.key
	if r.key != "" {
		key = r.key
	}
	if key != "" && key != "none" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Header.Set("Perigee-Consistency", token)
	if strings.HasPrefix(r.body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	if strings.HasPrefix(id, "tus") {
		req.Header.Set("Tus-Resumable", "1.0.0")
	}
	for name, v := range r.header {
		req.Header.Set(name, v)
	}
	if id == "events" {
		return d.stream(req)
	}
	a, err := do(fetchClient(d.s.API), req)
	if err != nil {
		d.t.Fatalf("%s: %v", id, err)
	}
	return a
}

// stream reads the beginning of a stream that does not end.
func (d *driver) stream(req *http.Request) Answer {
	d.t.Helper()
	resp, err := fetchClient(d.s.API).Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		b, _ := io.ReadAll(resp.Body)
		return Answer{resp.StatusCode, resp.Header, b}
	}
	b := make([]byte, 64)
	n, err := io.ReadAtLeast(resp.Body, b, 30)
	if err != nil {
		d.t.Errorf("the stream of events ends after %q: %v", b[:n], err)
	}
	return Answer{resp.StatusCode, resp.Header, b[:n]}
}

// member returns a member of a JSON answer.
func (d *driver) member(a Answer, name string) string {
	d.t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.Body, &m); err != nil {
		d.t.Fatalf("%v: %s", err, a.Body)
	}
	return fmt.Sprint(m[name])
}

// TestEveryOperationIsAsDescribed drives every operation of the API's description against the running server: at least a success and an error
// each. Status, media type and body of each answer must be as described, with no member more; a problem must be one that the operation lists.
func TestEveryOperationIsAsDescribed(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	s := upPublic(t, "api.events_secret="+secret)
	d := &driver{t: t, s: s, good: map[string]int{}, bad: map[string]int{}}
	text, err := do(fetchClient(s.API), must(http.NewRequest(http.MethodGet, s.URL("/api/v1/openapi.json"), nil)))
	if err != nil || text.Status != 200 {
		t.Fatal(text.Status, err)
	}
	d.spec = readSpec(t, text.Body)
	d.keys()
	d.sites()
	d.files()
	d.form()
	d.uploads()
	d.direct()
	d.purges()
	d.explain()
	d.fleet()
	d.catalogue()
	d.limits()
	d.contents()
	d.events()
	d.session()
	d.bucketEvents(secret)
	d.call("listSites", 400, request{header: map[string]string{"Perigee-Consistency": "?"}})
	d.call("openapi", 200, request{})
	d.strangers()
	for _, id := range slices.Sorted(maps.Keys(d.spec.operations)) {
		off := id == "cancelMove" // one server has nowhere to move to
		if d.good[id] == 0 && !off || d.bad[id] == 0 {
			t.Errorf("%s: %d successes and %d errors were tried; add what is missing", id, d.good[id], d.bad[id])
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// catalogue asks for its servers. There is one.
func (d *driver) catalogue() {
	d.call("getCatalogue", 200, request{})
	d.call("moveSlots", 202, request{body: `{"rebalance":true}`})
	d.call("moveSlots", 400, request{body: `{"slots":[1],"to":"home"}`})
	d.call("moveSlots", 404, request{body: `{"slots":[1],"to":"nowhere"}`})
	d.call("cancelMove", 404, request{path: []string{"1"}})
	d.call("cancelMove", 400, request{path: []string{"4096"}})
}

// keys ends keyless mode: from here on the driver has a key.
func (d *driver) keys() {
	made := d.call("createKey", 201, request{body: `{"name":"driver","scopes":["admin"]}`})
	d.key = d.member(made, "key")
	d.call("createKey", 400, request{body: `{"name":"","scopes":["admin"]}`})
	d.call("createKey", 400, request{body: `{"nmae":"x"}`})
	other := d.call("createKey", 201, request{body: `{"name":"other","scopes":["read"],"expires":"2099-01-01T00:00:00Z"}`})
	d.call("createKey", 403, request{body: `{"name":"x","scopes":["read"]}`, key: d.member(other, "key")})
	d.call("listKeys", 200, request{})
	d.call("revokeKey", 204, request{path: []string{d.member(other, "id")}})
	d.call("revokeKey", 404, request{path: []string{"nothing"}})
	d.call("listKeys", 401, request{key: d.member(other, "key")})
}

func (d *driver) sites() {
	d.call("listSites", 200, request{})
	d.call("listWatches", 200, request{})
	made := d.call("createSite", 201, request{body: `{"site":"docs","hosts":["docs.perigee.test"],"rules":{"paths":[{"path":"*.css","client_ttl":60,` +
		`"response_headers":{"set":{"X-A":"b"}},"cors":{"origins":["*"]}}]}}`})
	d.call("createSite", 201, request{body: `{"site":"bare"}`})
	d.call("createSite", 201, request{body: `{"site":"far","kind":"pull","hosts":["far.test"],"origin":{"url":"http://origin.example"}}`})
	d.call("createSite", 409, request{body: `{"site":"docs"}`})
	d.call("createSite", 400, request{body: `{"site":"No Good"}`})
	version := map[string]string{"If-Match": `"` + d.member(made, "version") + `"`}
	d.call("updateSite", 200, request{path: []string{"docs"}, header: version, body: `{"hosts":["docs.perigee.test"]}`})
	d.call("updateSite", 412, request{path: []string{"docs"}, header: version, body: `{"hosts":[]}`})
	d.call("updateSite", 404, request{path: []string{"nowhere"}, body: `{"hosts":[]}`})
	d.call("updateSite", 400, request{path: []string{"docs"}, body: `{"hosts":["-"]}`})
	d.call("listSites", 200, request{})
}

func (d *driver) files() {
	file := func(path string) []string { return []string{"www", path} }
	first := d.call("putFile", 201, request{path: file("dir/a%20b.txt"), body: "one", header: map[string]string{"Perigee-Tags": "x", "Perigee-Cache-Control": "no-cache"}})
	d.call("putFile", 200, request{path: file("dir/a%20b.txt"), body: "two", query: url.Values{"wait": {"20s"}}})
	d.call("putFile", 412, request{path: file("dir/a%20b.txt"), body: "x", header: map[string]string{"If-None-Match": "*"}})
	d.call("putFile", 400, request{path: file("a%2Fb"), body: "x"})
	d.call("putFile", 404, request{path: []string{"nowhere", "x"}, body: "x"})
	d.call("putFile", 415, request{path: file("x"), body: "x", header: map[string]string{"Content-Encoding": "gzip"}})
	d.call("putFile", 400, request{path: file("x"), body: "x", header: map[string]string{"Content-Range": "bytes 0-0/2"}})
	d.call("putFile", 400, request{path: file("x"), body: "x",
		header: map[string]string{"Repr-Digest": "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"}})
	got := d.call("getFile", 200, request{path: file("dir/a%20b.txt")})
	d.call("getFile", 304, request{path: file("dir/a%20b.txt"), header: map[string]string{"If-None-Match": got.Header.Get("ETag")}})
	d.call("getFile", 404, request{path: file("nothing")})
	d.call("headFile", 200, request{path: file("dir/a%20b.txt")})
	d.call("headFile", 404, request{path: file("nothing")})
	d.call("listFiles", 200, request{path: []string{"www"}, query: url.Values{"prefix": {"/dir/"}, "limit": {"1"}}})
	d.call("listFiles", 200, request{path: []string{"docs"}})
	d.call("listFiles", 400, request{path: []string{"www"}, query: url.Values{"limit": {"0"}}})
	d.call("listFiles", 404, request{path: []string{"nowhere"}})
	d.call("listVersions", 200, request{path: file("dir/a%20b.txt"), query: url.Values{"limit": {"1"}}})
	d.call("listVersions", 404, request{path: file("nothing")})
	version := d.member(first, "version")
	d.call("rollback", 200, request{path: file("dir/a%20b.txt"), body: `{"version":"` + version + `"}`})
	d.call("rollback", 400, request{path: file("dir/a%20b.txt"), body: `{"version":"?"}`})
	d.call("rollback", 404, request{path: file("nothing"), query: url.Values{"version": {version}}})
	d.call("deleteFile", 200, request{path: file("dir/a%20b.txt"), query: url.Values{"wait": {"20s"}}})
	d.call("deleteFile", 404, request{path: file("dir/a%20b.txt")})
	d.call("listVersions", 200, request{path: file("dir/a%20b.txt")}) // with a tombstone
}

func (d *driver) form() {
	form := func(fields map[string]string, files ...string) request {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for name, v := range fields {
			m.WriteField(name, v)
		}
		for _, name := range files {
			w := must(m.CreateFormFile("file", name))
			io.WriteString(w, "content of "+name)
		}
		m.Close()
		return request{path: []string{"www"}, body: b.String(), header: map[string]string{"Content-Type": m.FormDataContentType()}}
	}
	d.call("uploadForm", 201, form(map[string]string{"directory": "/form", "tags": "a,b"}, "one.txt", "two.txt"))
	d.call("uploadForm", 207, form(nil, "good.txt", strings.Repeat("n", 300)))
	page := form(nil, "page.txt")
	page.header["Accept"] = "text/html"
	d.call("uploadForm", 303, page)
	d.call("uploadForm", 400, form(nil))
	d.call("uploadForm", 415, request{path: []string{"www"}, body: "not a form"})
}

func (d *driver) uploads() {
	meta := func(path string) string {
		return "site " + base64.StdEncoding.EncodeToString([]byte("www")) + ",path " + base64.StdEncoding.EncodeToString([]byte(path))
	}
	chunk := "application/offset+octet-stream"
	create := func(path string, length string) request {
		return request{header: map[string]string{"Upload-Length": length, "Upload-Metadata": meta(path)}}
	}
	id := func(a Answer) []string {
		return []string{a.Header.Get("Location")[strings.LastIndexByte(a.Header.Get("Location"), '/')+1:]}
	}
	d.call("tusOptions", 204, request{})
	one := id(d.call("tusCreate", 201, create("/tus/one", "6")))
	d.call("tusCreate", 400, create("/tus/one", "many"))
	d.call("tusCreate", 400, create("../x", "6"))
	d.call("tusHead", 200, request{path: one})
	d.call("tusHead", 404, request{path: []string{"nothing"}})
	d.call("tusOptionsOne", 204, request{path: one})
	patch := func(offset, body string) request {
		return request{path: one, body: body, header: map[string]string{"Upload-Offset": offset, "Content-Type": chunk}}
	}
	d.call("tusPatch", 204, patch("0", "abc"))
	d.call("tusPatch", 409, patch("0", "abc"))
	d.call("tusPatch", 415, request{path: one, body: "abc", header: map[string]string{"Upload-Offset": "3", "Content-Type": "text/plain"}})
	over := patch("3", "def")
	over.header["X-HTTP-Method-Override"] = "PATCH"
	done := d.call("tusOverride", 204, over)
	if done.Header.Get("Perigee-URL") == "" {
		d.t.Errorf("the last byte of an upload is answered with %v", done.Header)
	}
	d.call("tusOverride", 405, request{path: one})
	d.call("tusTerminate", 204, request{path: one})
	two := id(d.call("tusCreate", 201, create("/tus/two", "6")))
	d.call("tusTerminate", 204, request{path: two})
	d.call("tusTerminate", 410, request{path: two})
	d.call("tusHead", 410, request{path: two})
	sum := patch("0", "abc")
	sum.path = id(d.call("tusCreate", 201, create("/tus/three", "6")))
	sum.header["Upload-Checksum"] = "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	d.call("tusPatch", 460, sum)
}

func (d *driver) direct() {
	made := d.call("directCreate", 201, request{body: `{"site":"www","path":"/direct","size":6}`})
	d.call("directCreate", 400, request{body: `{"site":"www","path":"/direct"}`})
	id := []string{d.member(made, "id")}
	d.call("directGet", 200, request{path: id, query: url.Values{"count": {"1"}}})
	d.call("directGet", 404, request{path: []string{"nothing"}})
	d.call("directCommit", 409, request{path: id})
	var u struct{ URLs []struct{ URL string } }
	if err := json.Unmarshal(made.Body, &u); err != nil || len(u.URLs) != 1 {
		d.t.Fatalf("%v %s", err, made.Body)
	}
	a := must(do(http.DefaultClient, must(http.NewRequest(http.MethodPut, u.URLs[0].URL, strings.NewReader("direct")))))
	if a.Status != 200 {
		d.t.Fatalf("store a part: %d %s", a.Status, a.Body)
	}
	d.call("directCommit", 201, request{path: id})
	d.call("directCommit", 200, request{path: id})
	d.call("directGet", 200, request{path: id})
	gone := []string{d.member(d.call("directCreate", 201, request{body: `{"site":"www","path":"/direct","size":6}`}), "id")}
	d.call("directEnd", 204, request{path: gone})
	d.call("directEnd", 410, request{path: gone})
	d.call("directCommit", 410, request{path: gone})
}

// session logs in and out, with a program's request and with a form's.
func (d *driver) session() {
	login := func() (cookie, csrf string) {
		a := d.call("login", 200, request{key: "none", body: `{"key":"` + d.key + `"}`})
		cookie, _, _ = strings.Cut(a.Header.Get("Set-Cookie"), ";")
		return cookie, d.member(a, "csrf")
	}
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
	d.call("login", 303, request{key: "none", header: form, body: url.Values{"key": {d.key}}.Encode()})
	d.call("login", 400, request{key: "none", body: `{}`})
	d.call("login", 401, request{key: "none", body: `{"key":"pk_wrong"}`})
	for id, status := range map[string]int{"logout": 204, "logoutForm": 303} {
		cookie, csrf := login()
		with := func(more ...string) request {
			r := request{key: "none", header: map[string]string{"Cookie": cookie}}
			for i := 0; i < len(more); i += 2 {
				r.header[more[i]] = more[i+1]
			}
			return r
		}
		d.call("getSession", 200, with())
		d.call(id, 403, with())
		end := with("X-CSRF-Token", csrf)
		if status == 303 {
			end = with("X-CSRF-Token", csrf, "Accept", "text/html")
		}
		d.call(id, status, end)
		d.call("getSession", 401, with())
	}
}

// bucketEvents posts what a store would.
func (d *driver) bucketEvents(secret string) {
	const message = `{"Records":[{"s3":{"bucket":{"name":"media"},"object":{"key":"a"}}}]}`
	d.call("bucketEvents", 200, request{key: secret, body: message})
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+secret))
	d.call("bucketEvents", 200, request{key: "none", header: map[string]string{"Authorization": basic}, body: message})
	d.call("bucketEvents", 400, request{key: "none", header: map[string]string{"Authorization": basic}, body: `{"x":1`})
}

func (d *driver) purges() {
	ordered := d.call("purge", 202, request{path: []string{"www"}, body: `{"urls":["/form/one.txt"],"soft":true}`})
	d.call("purge", 200, request{path: []string{"www"}, body: `{"all":true}`, query: url.Values{"wait": {"20s"}}})
	d.call("purge", 400, request{path: []string{"www"}, body: `{}`})
	d.call("purge", 404, request{path: []string{"nowhere"}, body: `{"all":true}`})
	d.call("getPurge", 200, request{path: []string{d.member(ordered, "id")}})
	d.call("getPurge", 404, request{path: []string{"nothing"}})
}

func (d *driver) limits() {
	other := d.member(d.call("createKey", 201, request{body: `{"name":"reader","scopes":["read"]}`}), "key")
	d.call("setQuota", 200, request{path: []string{"docs"}, body: `{"quota":{"bytes":1000000,"files":10}}`})
	d.call("setQuota", 400, request{path: []string{"docs"}, body: `{"quota":{"bytes":-1}}`})
	d.call("setQuota", 404, request{path: []string{"nowhere"}, body: `{"quota":{}}`})
	d.call("recount", 200, request{path: []string{"docs"}})
	d.call("recount", 404, request{path: []string{"nowhere"}})
	d.call("listAudit", 200, request{query: url.Values{"limit": {"2"}}})
	d.call("listAudit", 400, request{query: url.Values{"limit": {"0"}}})
	d.call("listAudit", 403, request{key: other})
	d.call("listPurges", 200, request{query: url.Values{"limit": {"1"}}})
	d.call("listPurges", 400, request{query: url.Values{"cursor": {"?"}}})
	d.call("listUploads", 200, request{})
	for _, list := range []string{"listUploads", "listKeys", "listSites", "getFleet", "listWatches"} {
		d.call(list, 400, request{query: url.Values{"limit": {"0"}}})
	}
}

func (d *driver) contents() {
	const nobodys = `{"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}`
	other := d.member(d.call("createKey", 201, request{body: `{"name":"publisher","scopes":["publish"]}`}), "key")
	d.call("putFile", 201, request{path: []string{"www", "to/erase.txt"}, body: "to be erased"})
	d.call("erase", 200, request{path: []string{"www"}, body: `{"paths":["/to/erase.txt"]}`, query: url.Values{"wait": {"20s"}}})
	d.call("erase", 400, request{path: []string{"www"}, body: `{}`})
	d.call("erase", 404, request{path: []string{"nowhere"}, body: nobodys})
	d.call("eraseEverywhere", 200, request{body: nobodys})
	d.call("eraseEverywhere", 400, request{body: `{"paths":["/a"]}`})
	d.call("getGarbage", 200, request{})
	d.call("getGarbage", 403, request{key: other})
	d.call("collect", 200, request{})
	d.call("collect", 403, request{key: other})
}

func (d *driver) explain() {
	q := func(pairs ...string) request {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return request{query: v}
	}
	d.call("explain", 200, q("site", "www", "path", "/form/one.txt", "ip", "81.2.69.142"))
	d.call("explain", 200, q("site", "www", "path", "/nothing"))
	d.call("explain", 404, q("site", "nowhere", "path", "/x"))
	d.call("explain", 400, q("site", "www", "path", "/x", "ip", "here"))
	d.call("whatIf", 200, q("drain", "fra", "add", "tyo@35.6,139.7"))
	d.call("whatIf", 400, q())
	d.call("whatIf", 404, q("drain", "nobody"))
	d.call("whatIf", 409, q("add", "fra@1,2"))
}

func (d *driver) fleet() {
	d.call("getFleet", 200, request{})
	d.call("drainNode", 202, request{path: []string{"fra"}})
	d.call("drainNode", 404, request{path: []string{"nobody"}})
	d.call("undrainNode", 202, request{path: []string{"fra"}})
	d.call("undrainNode", 404, request{path: []string{"nobody"}})
	d.call("forgetNode", 409, request{path: []string{"nyc"}})
	d.call("forgetNode", 404, request{path: []string{"nobody"}})
	d.crashEdge("extra")
	d.call("getFleet", 200, request{})
	d.call("forgetNode", 204, request{path: []string{"extra"}})
}

// crashEdge runs one more edge as a process of its own until the fleet knows it, and kills it.
func (d *driver) crashEdge(name string) {
	d.t.Helper()
	dir := d.t.TempDir()
	config := filepath.Join(dir, "perigee.yaml")
	yaml := fmt.Sprintf("data: %[1]s\nbus: {url: nats://%[2]s, listen: %[2]s}\nstorage: {endpoint: http://%[3]s, embedded: {listen: %[3]s}}\nedges:\n"+
		"  - {name: %[4]s, listen: 127.0.0.1:0, cache: %[5]s, place: {name: Tokyo, country: JP, lat: 35.7, lon: 139.7}}\n", d.s.Dir, d.s.Bus, d.s.S3, name, filepath.Join(dir, "cache"))
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.Command(d.s.Binary, "edge", "--name", name, "--config", config)
	log := must(os.Create(filepath.Join(dir, "edge.log")))
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	known := func(down bool) func() bool {
		return func() bool {
			var f struct {
				Nodes []struct {
					Node string
					Down bool
				}
			}
			if err := json.Unmarshal(d.send("getFleet", request{}).Body, &f); err != nil {
				d.t.Fatal(err)
			}
			for _, n := range f.Nodes {
				if n.Node == name {
					return n.Down == down
				}
			}
			return false
		}
	}
	defer func() {
		if d.t.Failed() {
			b, _ := os.ReadFile(log.Name())
			d.t.Logf("edge %s: %s", name, b)
		}
	}()
	eventually(d.t, "the fleet knows "+name, known(false))
	cmd.Process.Kill()
	cmd.Wait()
	eventually(d.t, name+" is down", known(true))
}

// events listens until there are too many who do.
func (d *driver) events() {
	d.call("events", 200, request{})
	var open []*http.Response
	defer func() {
		for _, r := range open {
			r.Body.Close()
		}
	}()
	for range 1000 {
		req := must(http.NewRequestWithContext(within(d.t, long), http.MethodGet, d.s.URL("/api/v1/events"), nil))
		req.Header.Set("Authorization", "Bearer "+d.key)
		resp := must(fetchClient(d.s.API).Do(req))
		open = append(open, resp)
		if resp.StatusCode != http.StatusOK {
			break
		}
	}
	d.call("events", 503, request{})
}

// strangers try what has no error of its own: every operation refuses a key that it does not know.
func (d *driver) strangers() {
	for id, o := range d.spec.operations {
		values := make([]string, strings.Count(o.path, "{"))
		for i := range values {
			values[i] = "x"
		}
		d.call(id, 401, request{path: values, key: "pk_wrong"})
	}
}
