// Package clienttest has a server that speaks the API of docs/contract.md from memory, for tests of what calls it.
//
// Its files behave: versions rise, conditions and digests are checked, lists are paged in the order of bytes, tombstones
// stay in the history. It stores nothing on disk, has no log behind its positions, and its fleet is what the test says.
package clienttest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"perigee/client"
	"perigee/clock"
	"perigee/fleet"
	"perigee/object"
)

// Server is the API. Set its exported fields before the first request.
type Server struct {
	URL string
	// Key, if set, must be sent.
	Key string
	// PageSize is the most a list gives at once; 1,000 when zero.
	PageSize int
	// Before, if set, sees each request first; a status other than 0 is answered in place of it.
	Before func(*http.Request) int
	// Header, if set, sets fields of the answer to a request.
	Header func(http.Header, *http.Request)
	// Nodes is the fleet.
	Nodes []client.Node
	// Lagging is how many times a purge's status is asked before the last edge has applied it.
	Lagging int

	mu     sync.Mutex
	files  map[string][]stored // "site:/path" -> versions, oldest first
	purges map[string]*order
	last   object.Version
	calls  []string
}

type stored struct {
	file client.File
	body []byte
}

type order struct {
	site  string
	order client.PurgeOrder
	asked int
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{files: map[string][]stored{}, purges: map[string]*order{}}
	h := httptest.NewServer(s.handler())
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Serve starts a server for an example, and returns its address and what ends it.
func Serve() (address string, end func()) {
	s := &Server{files: map[string][]stored{}, purges: map[string]*order{}}
	h := httptest.NewServer(s.handler())
	return h.URL, h.Close
}

// Body returns what a path ("www:/a") has now.
func (s *Server) Body(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.live(name)
	if v == nil {
		return "", false
	}
	return string(v.body), true
}

// Names returns every live file as "site:/path", sorted.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.files {
		if s.live(name) != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Calls returns how many requests began with prefix: "PUT /api/v1/sites/www/".
func (s *Server) Calls(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// Orders returns the purges that were ordered, as JSON, by site.
func (s *Server) Orders() map[string]client.PurgeOrder {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]client.PurgeOrder{}
	for _, o := range s.purges {
		all[o.site] = o.order
	}
	return all
}

func (s *Server) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /api/v1/sites/{site}/files", s.list)
	m.HandleFunc("PUT /api/v1/sites/{site}/files/{path...}", s.put)
	m.HandleFunc("GET /api/v1/sites/{site}/files/{path...}", s.get)
	m.HandleFunc("DELETE /api/v1/sites/{site}/files/{path...}", s.delete)
	m.HandleFunc("POST /api/v1/sites/{site}/files/{path...}", s.rollback)
	m.HandleFunc("POST /api/v1/sites/{site}/purge", s.purge)
	m.HandleFunc("GET /api/v1/purges/{id}", s.proof)
	m.HandleFunc("GET /api/v1/watches", func(w http.ResponseWriter, _ *http.Request) { // it has no bucket sites
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"watches":[]}`)
	})
	m.HandleFunc("GET /api/v1/gc", func(w http.ResponseWriter, _ *http.Request) { // nothing is condemned, and nothing was listed yet
		answer(w, 200, client.Garbage{})
	})
	m.HandleFunc("GET /api/v1/sites", s.sites)
	m.HandleFunc("GET /api/v1/fleet", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, client.Fleet{Gen: 7, Now: clock.System.Now(), Nodes: s.Nodes})
	})
	m.HandleFunc("POST /api/v1/fleet/{node}/{verb}", s.drain)
	m.HandleFunc("GET /api/v1/explain", explain)
	m.HandleFunc("GET /api/v1/whatif", whatIf)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls = append(s.calls, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		if s.Header != nil {
			s.Header(w.Header(), r)
		}
		if s.Before != nil {
			if status := s.Before(r); status != 0 {
				problem(w, status, "refused", "the test refuses this")
				return
			}
		}
		if s.Key != "" && r.Header.Get("Authorization") != "Bearer "+s.Key {
			problem(w, 401, "key-required", "send an API key")
			return
		}
		m.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func problem(w http.ResponseWriter, status int, slug, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(client.Problem{Type: "/problems/" + slug, Title: http.StatusText(status), Status: status, Detail: detail, RequestID: "r1"})
}

// live returns the current version of a name if it is a file; s.mu is held.
func (s *Server) live(name string) *stored {
	vs := s.files[name]
	if len(vs) == 0 || vs[len(vs)-1].file.State != object.Live {
		return nil
	}
	return &vs[len(vs)-1]
}

// target reads site and path; it answers the request itself when it returns false.
func target(w http.ResponseWriter, r *http.Request, escaped string) (object.Site, object.Path, bool) {
	site, err := object.ParseSite(r.PathValue("site"))
	if err != nil {
		problem(w, 400, "invalid", err.Error())
		return "", "", false
	}
	path, err := object.ParseEscapedPath(escaped)
	if err != nil {
		problem(w, 400, "invalid", err.Error())
		return "", "", false
	}
	return site, path, true
}

// escapedPath returns what stands behind /files/ as it was sent.
func escapedPath(r *http.Request) string {
	_, rest, _ := strings.Cut(r.URL.EscapedPath(), "/files/")
	return rest
}

func (s *Server) put(w http.ResponseWriter, r *http.Request) {
	site, path, ok := target(w, r, escapedPath(r))
	if !ok {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		problem(w, 400, "incomplete", "the body broke off")
		return
	}
	sum := sha256.Sum256(body)
	if d := r.Header.Get("Repr-Digest"); d != "" && d != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		problem(w, 400, "digest-mismatch", "the body does not have the given SHA-256")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := string(site) + ":" + string(path)
	old := s.live(name)
	if !s.conditionHolds(r, old) {
		problem(w, 412, "precondition-failed", "the file is not in the expected state")
		return
	}
	f := client.File{Site: site, Path: path, SHA256: sum, Size: int64(len(body)), State: object.Live,
		ContentType: "application/octet-stream", CacheControl: r.Header.Get("Perigee-Cache-Control")}
	if f.Tags, err = object.ParseTags(r.Header.Get("Perigee-Tags")); err != nil {
		problem(w, 400, "invalid", err.Error())
		return
	}
	f = s.add(name, f, body)
	if r.URL.Query().Get("wait") != "" {
		yes := true
		f.Effective = &yes
	}
	status := http.StatusOK
	if old == nil {
		status = http.StatusCreated
	}
	answer(w, status, f)
}

func (s *Server) conditionHolds(r *http.Request, old *stored) bool {
	if r.Header.Get("If-None-Match") == "*" && old != nil {
		return false
	}
	want := r.Header.Get("If-Match")
	return want == "" || old != nil && want == old.file.ETag
}

// add makes a new version; s.mu is held.
func (s *Server) add(name string, f client.File, body []byte) client.File {
	now := clock.System.Now()
	s.last = object.NextVersion(now, 0, s.last)
	f.Version, f.ETag, f.Modified = s.last, `"`+string(s.last)+`"`, now.UTC().Truncate(1e9)
	f.URL = "http://" + string(f.Site) + ".perigee.test:8100" + f.Path.Escape()
	f.ImmutableURL = "http://" + string(f.Site) + ".perigee.test:8100/_perigee/v/" + string(f.Version) + f.Path.Escape()
	s.files[name] = append(s.files[name], stored{f, body})
	return f
}

// page answers with the items behind the cursor of r, which is the key of the last one before them.
func (s *Server) page(w http.ResponseWriter, r *http.Request, name string, items []client.File, key func(client.File) string) {
	size, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || size > 1000 {
		size = 1000
	}
	if s.PageSize > 0 {
		size = min(size, s.PageSize)
	}
	if after := r.URL.Query().Get("cursor"); after != "" {
		i := slices.IndexFunc(items, func(f client.File) bool { return key(f) == after })
		items = items[i+1:]
	}
	next := ""
	if len(items) > size {
		items = items[:size]
		next = key(items[size-1])
	}
	answer(w, 200, map[string]any{name: items, "next": next})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	var files []client.File
	for _, name := range s.Names() {
		site, path, _ := strings.Cut(name, ":")
		if site != r.PathValue("site") || !strings.HasPrefix(path, r.URL.Query().Get("prefix")) {
			continue
		}
		s.mu.Lock()
		if v := s.live(name); v != nil {
			files = append(files, v.file)
		}
		s.mu.Unlock()
	}
	s.page(w, r, "files", files, func(f client.File) string { return string(f.Path) })
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	site, path, ok := target(w, r, escapedPath(r))
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := string(site) + ":" + string(path)
	if r.URL.Query().Has("versions") && len(s.files[name]) > 0 {
		var vs []client.File
		for _, v := range slices.Backward(s.files[name]) {
			vs = append(vs, v.file)
		}
		s.page(w, r, "versions", vs, func(f client.File) string { return string(f.Version) })
		return
	}
	if v := s.live(name); v != nil {
		answer(w, 200, v.file)
		return
	}
	problem(w, 404, "not-found", "no file at "+name)
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	site, path, ok := target(w, r, escapedPath(r))
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := string(site) + ":" + string(path)
	old := s.live(name)
	if old == nil {
		problem(w, 404, "not-found", "no file at "+name)
		return
	}
	if !s.conditionHolds(r, old) {
		problem(w, 412, "precondition-failed", "the file is not in the expected state")
		return
	}
	answer(w, 200, s.add(name, client.File{Site: site, Path: path, State: object.Gone}, nil))
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request) {
	escaped, ok := strings.CutSuffix(escapedPath(r), "/rollback")
	site, path, good := target(w, r, escaped)
	var in struct {
		Version object.Version `json:"version"`
	}
	if !good {
		return
	}
	if !ok || json.NewDecoder(r.Body).Decode(&in) != nil {
		problem(w, 404, "not-found", "no such call")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := string(site) + ":" + string(path)
	for _, v := range s.files[name] {
		if v.file.Version == in.Version && v.file.State == object.Live {
			answer(w, 200, s.add(name, v.file, v.body))
			return
		}
	}
	problem(w, 404, "not-found", "no such version of "+name)
}

func (s *Server) sites(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, map[string]any{"sites": []object.SiteRecord{
		{Format: 1, Site: "docs", Kind: object.Published, Hosts: []object.Host{"docs.perigee.test", "docs.example.org"}},
		{Format: 1, Site: "www", Kind: object.Published, Hosts: []object.Host{"www.perigee.test"}},
	}})
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Report.Node == r.PathValue("node") {
			n.State = map[string]fleet.State{"drain": fleet.Draining, "undrain": fleet.Ready}[r.PathValue("verb")]
			answer(w, 202, map[string]any{"node": n.Report.Node})
			return
		}
	}
	problem(w, 404, "not-found", fmt.Sprintf("no node %q is known", r.PathValue("node")))
}
