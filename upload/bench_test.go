package upload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/clock"
	"perigee/keys"
	"perigee/object"
	"perigee/openapi"
	"perigee/origin"
	"perigee/origin/origintest"
	"perigee/problem"
	"perigee/purge/purgetest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	origintest.Main(m)
}

// bench is a publishing side with real parts: S3 server, catalogue, outbox and HTTP server. The log is in memory.
type bench struct {
	t      testing.TB
	s3     *origintest.Server
	reader *origin.Reader
	writer *origin.Writer
	log    *purgetest.Memory
	clock  *steppedClock
	dir    string
	cfg    Config // what New gets, but for the parts

	cat    *catalog.Catalog
	pub    *Publisher
	stop   func() // of the outbox
	server *httptest.Server

	mu     sync.Mutex
	events []Event
	key    *keys.Identity // that sends the requests; nil is one that may do everything
}

func (b *bench) sender() keys.Identity {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key != nil {
		return *b.key
	}
	return keys.Identity{ID: "tester", Name: "tester", Scopes: []keys.Scope{keys.ScopeAdmin}}
}

// use makes a key the one that sends the requests from now on.
func (b *bench) use(id keys.Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.key = &id
}

// steppedClock is the system's clock, put forward.
type steppedClock struct {
	clock.Clock
	offset atomic.Int64
}

func (c *steppedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.offset.Load())) }

func (c *steppedClock) step(d time.Duration) { c.offset.Add(int64(d)) }

func newBench(t testing.TB, cfg Config) *bench {
	t.Helper()
	return newBenchIn(t, t.TempDir(), cfg)
}

// newBenchIn is newBench with everything in one directory.
func newBenchIn(t testing.TB, dir string, cfg Config) *bench {
	t.Helper()
	s3 := origintest.StartIn(t, filepath.Join(dir, "s3"))
	b := newBenchOn(t, dir, cfg, s3.Config())
	b.s3 = s3
	return b
}

// newBenchOn is newBenchIn with a bucket that is there.
func newBenchOn(t testing.TB, dir string, cfg Config, bucket origin.Config) *bench {
	t.Helper()
	b := &bench{t: t, cfg: cfg, log: purgetest.NewMemory("eu"), dir: dir, clock: &steppedClock{Clock: clock.System}}
	var err error
	if b.reader, err = origin.NewReader(bucket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.reader.Close)
	if b.writer, err = origin.NewWriter(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.writer.Close)
	b.open()
	t.Cleanup(func() { b.close() })
	_, err = b.pub.EnsureSite(t.Context(), object.SiteRecord{Format: 1, Site: "www", Kind: object.Published, Hosts: []object.Host{"www.test"}})
	b.must(err)
	return b
}

// open is the start of a run of the program, close its end, restart both.
func (b *bench) open() {
	b.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var err error
	b.cat, err = catalog.OpenSQLite(b.t.Context(), catalog.Config{File: filepath.Join(b.dir, "c.db"), Clock: b.clock, Log: quiet, BusyWait: 20 * time.Second})
	b.must(err)
	outbox, err := catalog.NewOutbox(catalog.OutboxConfig{Catalog: b.cat, Appender: b.log, Clock: clock.System, Log: quiet})
	b.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- outbox.Run(ctx) }()
	b.stop = func() { cancel(); <-done }

	cfg := b.cfg
	if cfg.Patience == 0 {
		cfg.Patience = 300 * time.Millisecond // a fault of a test stays until the test has seen what it does
	}
	cfg.Catalog, cfg.Outbox, cfg.Clock, cfg.Log = b.cat, outbox, b.clock, quiet
	if cfg.Reader == nil {
		cfg.Reader = b.reader
	}
	if cfg.Writer == nil {
		cfg.Writer = b.writer
	}
	cfg.BaseURL = func(s object.SiteRecord) string { return "http://" + string(s.Hosts[0]) + ":8100" }
	cfg.Events = func(e Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
	}
	b.pub, err = New(cfg)
	b.must(err)
	b.server = b.serve(b.pub)
}

// serve answers for pub, with what the bench's sender may do.
func (b *bench) serve(pub *Publisher) *httptest.Server {
	engine := gin.New()
	engine.UseRawPath, engine.UnescapePathValues = true, false
	engine.Use(func(c *gin.Context) {
		c.Request = c.Request.WithContext(keys.NewContext(c.Request.Context(), b.sender()))
	})
	pub.Register(engine, openapi.New(openapi.Info{}))
	return httptest.NewServer(engine)
}

func (b *bench) close() {
	b.server.Close()
	b.stop()
	if err := b.cat.Close(); err != nil {
		b.t.Errorf("close catalogue: %v", err)
	}
}

func (b *bench) restart() {
	b.t.Helper()
	b.close()
	b.open()
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) result(t testing.TB) Result {
	t.Helper()
	var r Result
	if err := json.Unmarshal(a.body, &r); err != nil {
		t.Fatalf("answer %d %s: %v", a.status, a.body, err)
	}
	return r
}

// call sends a request; headers are pairs.
func (b *bench) call(method, path string, body io.Reader, headers ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, body)
	b.must(err)
	if s, ok := body.(sized); ok {
		req.ContentLength = s.size
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	b.must(err)
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	b.must(err)
	return answer{res.StatusCode, res.Header, out}
}

func (b *bench) put(path, body string, headers ...string) answer {
	b.t.Helper()
	return b.call("PUT", "/api/v1/sites/www/files"+path, strings.NewReader(body), headers...)
}

// want fails the test unless the answer has the status; it returns the answer.
func (b *bench) want(a answer, status int) answer {
	b.t.Helper()
	if a.status != status {
		b.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if a.status < 400 || len(a.body) == 0 {
		return a
	}
	var p problem.Document
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" ||
		p.Status != status || p.Detail == "" || p.Title == "" || p.RequestID == "" || !strings.HasPrefix(p.Type, "/problems/") {
		b.t.Errorf("not a problem document: %s", a.body)
	}
	return a
}

func (b *bench) read(key object.Key) ([]byte, error) {
	body, _, err := b.reader.Get(context.Background(), key, origin.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// content returns what a path's head pointer in the bucket leads to; "" and false for nothing or a tombstone.
func (b *bench) content(site object.Site, path object.Path) (string, bool) {
	b.t.Helper()
	head, _, err := b.pub.head(b.t.Context(), site, path)
	b.must(err)
	if head == nil || head.State == object.Gone {
		return "", false
	}
	body, err := b.read(head.Blob)
	b.must(err)
	return string(body), true
}

// consistent checks that catalogue, bucket and log say the same, and that the bucket has nothing that nobody knows of.
func (b *bench) consistent() {
	b.t.Helper()
	ctx := b.t.Context()
	known := map[object.Key]bool{}
	last := map[string]object.Version{}
	rows, err := b.cat.Rows(ctx, "", 0)
	b.must(err)
	for _, r := range rows {
		if ptr := r.Entry.Pointer; ptr != nil {
			last[string(ptr.Site)+string(ptr.Path)] = ptr.Version
			b.checkVersion(*ptr, known)
		}
	}
	for _, r := range rows {
		if ptr := r.Entry.Pointer; ptr != nil {
			b.checkHead(ptr.Site, ptr.Path, last[string(ptr.Site)+string(ptr.Path)], known)
		}
	}
	for info, err := range b.reader.List(ctx, "") {
		b.must(err)
		switch prefix, _, _ := strings.Cut(string(info.Key), "/"); prefix {
		case "p", "v", "u", "w", "b", "t":
			if !known[info.Key] && !b.collectable(info.Key) {
				b.t.Errorf("the bucket has %s, which nothing refers to", info.Key)
			}
		}
	}
	for u, err := range b.writer.ListUploads(ctx, "", time.Now().Add(time.Hour)) {
		b.must(err)
		b.t.Errorf("the bucket has an unfinished multipart upload of %s", u.Key)
	}
	if rs, err := b.cat.Stale(ctx, 0); err != nil || len(rs) > 0 {
		b.t.Errorf("stale reservations: %v, %v", rs, err)
	}
	if us, err := b.cat.StaleUploads(ctx, 0); err != nil || len(us) > 0 {
		b.t.Errorf("stale uploads: %v, %v", us, err)
	}
}

// collectable reports whether the collector knows of an object that nothing refers to.
func (b *bench) collectable(key object.Key) bool {
	_, err := b.cat.Blob(b.t.Context(), object.Key(strings.TrimPrefix(string(key), "t/")))
	return err == nil
}

// checkVersion checks the immutable record of a version and its blob.
func (b *bench) checkVersion(ptr object.Pointer, known map[object.Key]bool) {
	b.t.Helper()
	key := object.VersionKey(ptr.Site, ptr.Path, ptr.Version)
	known[key] = true
	if stored, err := b.read(key); err != nil || !bytes.Equal(stored, object.MarshalPointer(&ptr)) {
		b.t.Errorf("%s: %s, %v", key, stored, err)
	}
	if ptr.State == object.Gone || known[ptr.Blob] {
		return
	}
	known[ptr.Blob] = true
	h := object.NewHasher()
	body, _, err := b.reader.Get(b.t.Context(), ptr.Blob, origin.GetOptions{})
	if err == nil {
		defer body.Close()
		_, err = io.Copy(h, body)
	}
	if hash, tree := h.Sum(); err != nil || hash != ptr.Hash || tree.Root() != ptr.Root || h.Size() != ptr.Size {
		b.t.Errorf("blob %s of %s is not what its pointer says: %v", ptr.Blob, ptr.Path, err)
	}
	if object.Chunks(ptr.Size) > 1 {
		known[object.TreeKey(ptr.Blob)] = true
		enc, err := b.read(object.TreeKey(ptr.Blob))
		if err == nil {
			_, err = object.DecodeTree(enc, ptr.Size, ptr.Root)
		}
		if err != nil {
			b.t.Errorf("tree of %s: %v", ptr.Path, err)
		}
	}
}

// checkHead checks that bucket and catalogue have the same current version, the one that the log named last.
func (b *bench) checkHead(site object.Site, path object.Path, want object.Version, known map[object.Key]bool) {
	b.t.Helper()
	key := object.HeadKey(site, path)
	if known[key] {
		return
	}
	known[key] = true
	head, etag, err := b.pub.head(b.t.Context(), site, path)
	f, cerr := b.cat.File(b.t.Context(), site, path)
	if err != nil || cerr != nil || head == nil || head.Version != want || f.Pointer.Version != want || f.ETag != etag {
		b.t.Errorf("%s: log has %s, bucket %+v (%s, %v), catalogue %+v (%v)", path, want, head, etag, err, f, cerr)
	}
}

// missing reports whether the catalogue has no live file at the path.
func (b *bench) missing(path object.Path) bool {
	f, err := b.cat.File(b.t.Context(), "www", path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && f.Pointer.State == object.Gone
}

// noise is a stream of size bytes that depends on seed and repeats nowhere soon.
func noise(seed byte, size int64) io.Reader {
	return io.LimitReader(&noiseReader{x: uint64(seed)*0x9E3779B97F4A7C15 + 1}, size)
}

type noiseReader struct{ x uint64 }

func (n *noiseReader) Read(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n.x ^= n.x << 13
		n.x ^= n.x >> 7
		n.x ^= n.x << 17
		if len(rest) >= 8 {
			binary.LittleEndian.PutUint64(rest, n.x)
			rest = rest[8:]
			continue
		}
		rest[0] = byte(n.x)
		rest = rest[1:]
	}
	return len(p), nil
}

// noiseBytes is noise in memory. Reading it in other portions gives other bytes, so one test uses one of the two.
func noiseBytes(seed byte, size int) []byte {
	p := make([]byte, size)
	(&noiseReader{x: uint64(seed)*0x9E3779B97F4A7C15 + 1}).Read(p)
	return p
}

func sum(p []byte) string { return fmt.Sprint(object.HashOf(p)) }

// sized is a body of known length that is not in memory.
type sized struct {
	io.Reader
	size int64
}

// readAnswer reads an answer from a connection.
func readAnswer(t testing.TB, conn net.Conn, method string) answer {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}
