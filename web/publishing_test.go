package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/object"
	"perigee/problem"
	"perigee/purge"
)

// publishing stands where package upload stands: faces do not import one another, so the console is tested
// against the shapes of docs/contract.md here, and against the real thing in e2e.
type publishing struct {
	w *world

	pmu     sync.Mutex
	files   map[object.Path]published
	uploads map[string]*unfinished
	// cuts are the sizes of an upload at which the connection breaks, one for each PATCH.
	cuts []int64
	gate chan struct{} // closed when PATCH requests may be read; see hold
	// offsets are the Upload-Offset of all PATCH requests that came.
	offsets []int64
	refuse  *problem.Document // answers every creation, when set
}

type published struct {
	path        object.Path
	version     object.Version
	hash        object.Hash
	size        int64
	contentType string
	tags        string
	modified    time.Time
}

type unfinished struct {
	meta map[string]string
	size int64
	body bytes.Buffer
}

func newPublishing(w *world) *publishing {
	return &publishing{w: w, files: map[object.Path]published{}, uploads: map[string]*unfinished{}}
}

// hold lets no PATCH be read until open is called.
func (p *publishing) hold() (open func()) {
	gate := make(chan struct{})
	p.pmu.Lock()
	p.gate = gate
	p.pmu.Unlock()
	return sync.OnceFunc(func() { close(gate) })
}

func (p *publishing) register(r gin.IRouter) {
	r.GET("/api/v1/sites/:site/files", p.list)
	r.POST("/api/v1/sites/:site/files", p.form)
	r.GET("/api/v1/sites/:site/files/*path", p.getFile)
	r.DELETE("/api/v1/sites/:site/files/*path", p.deleteFile)
	r.POST("/api/v1/uploads/", p.create)
	r.HEAD("/api/v1/uploads/:id", p.head)
	r.PATCH("/api/v1/uploads/:id", p.patch)
	r.DELETE("/api/v1/uploads/:id", p.terminate)
}

func (p *publishing) get(path object.Path) (published, bool) {
	p.pmu.Lock()
	defer p.pmu.Unlock()
	f, ok := p.files[path]
	return f, ok
}

func (p *publishing) publish(path object.Path, body []byte, contentType, tags string) published {
	now := time.Now().UTC()
	p.pmu.Lock()
	f := published{path, object.NextVersion(now, 1, p.files[path].version), object.HashOf(body), int64(len(body)), contentType, tags, now.Truncate(time.Second)}
	p.files[path] = f
	p.pmu.Unlock()
	p.w.entry(purge.Entry{Kind: purge.KindPointer, Site: testSite, Pointer: &object.Pointer{
		Format: 1, Site: testSite, Path: path, Version: f.version, State: object.Live, Modified: f.modified,
		Hash: f.hash, Root: f.hash, Size: f.size, Blob: object.BlobKey(f.hash), ContentType: contentType,
	}})
	return f
}

const baseURL = "http://www.perigee.test:8100"

func (f published) json() gin.H {
	return gin.H{
		"site": testSite, "path": f.path, "url": baseURL + f.path.Escape(),
		"immutable_url": baseURL + "/_perigee/v/" + string(f.version) + f.path.Escape(), "sha256": f.hash, "size": f.size,
		"content_type": f.contentType, "etag": `"` + string(f.version) + `"`, "version": f.version, "modified": f.modified,
		"tags": strings.Split(f.tags, ","), "state": "live",
	}
}

// Recent implements Files.
func (p *publishing) Recent(_ context.Context, limit int) ([]File, error) {
	p.w.mu.Lock()
	err := p.w.broken
	p.w.mu.Unlock()
	p.pmu.Lock()
	defer p.pmu.Unlock()
	var out []File
	for _, f := range p.files {
		out = append(out, File{testSite, f.path, baseURL + f.path.Escape(), f.hash, f.size, f.contentType, f.modified})
	}
	slices.SortFunc(out, func(a, b File) int { return b.Modified.Compare(a.Modified) })
	return out[:min(limit, len(out))], err
}

func (p *publishing) list(c *gin.Context) {
	limit, _ := strconv.Atoi(c.DefaultQuery("limit", "100"))
	p.pmu.Lock()
	defer p.pmu.Unlock()
	var paths []object.Path
	for path := range p.files {
		if strings.HasPrefix(string(path), c.Query("prefix")) && string(path) > c.Query("cursor") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	next := ""
	if len(paths) > limit {
		paths, next = paths[:limit], string(paths[limit-1])
	}
	list := []gin.H{}
	for _, path := range paths {
		list = append(list, p.files[path].json())
	}
	c.JSON(http.StatusOK, gin.H{"files": list, "next": next})
}

func (p *publishing) form(c *gin.Context) {
	form, err := c.MultipartForm()
	if err != nil {
		fail(c, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	value := func(name string) string { return strings.Join(form.Value[name], "") }
	for _, h := range form.File["file"] {
		f, err := h.Open()
		if err != nil {
			fail(c, http.StatusBadRequest, "invalid", err.Error())
			return
		}
		b, _ := io.ReadAll(f)
		f.Close()
		dir := strings.Trim(value("directory"), "/")
		p.publish(object.Path("/"+strings.TrimPrefix(dir+"/"+h.Filename, "/")), b, h.Header.Get("Content-Type"), value("tags"))
	}
	c.Redirect(http.StatusSeeOther, "/")
}

func (p *publishing) getFile(c *gin.Context) {
	f, ok := p.get(object.Path(c.Param("path")))
	if !ok {
		fail(c, http.StatusNotFound, "not-found", "There is no such file.")
		return
	}
	c.JSON(http.StatusOK, f.json())
}

func (p *publishing) deleteFile(c *gin.Context) {
	path := object.Path(c.Param("path"))
	f, ok := p.get(path)
	if !ok {
		fail(c, http.StatusNotFound, "not-found", "There is no such file.")
		return
	}
	p.pmu.Lock()
	delete(p.files, path)
	p.pmu.Unlock()
	p.w.entry(purge.Entry{Kind: purge.KindPointer, Site: testSite, Pointer: &object.Pointer{
		Format: 1, Site: testSite, Path: path, Version: object.NextVersion(time.Now(), 1, f.version), State: object.Gone,
		Modified: time.Now().UTC().Truncate(time.Second),
	}})
	c.JSON(http.StatusOK, f.json())
}

func (p *publishing) create(c *gin.Context) {
	p.pmu.Lock()
	refuse := p.refuse
	p.pmu.Unlock()
	if refuse != nil {
		fail(c, refuse.Status, problem.Kind(refuse.Type), refuse.Detail)
		return
	}
	u := &unfinished{meta: map[string]string{}}
	u.size, _ = strconv.ParseInt(c.GetHeader("Upload-Length"), 10, 64)
	for pair := range strings.SplitSeq(c.GetHeader("Upload-Metadata"), ",") {
		k, v, _ := strings.Cut(pair, " ")
		b, _ := base64.StdEncoding.DecodeString(v)
		u.meta[k] = string(b)
	}
	id := strings.ToLower(rand.Text())
	p.pmu.Lock()
	p.uploads[id] = u
	p.pmu.Unlock()
	c.Header("Location", "/api/v1/uploads/"+id)
	c.Header("Tus-Resumable", "1.0.0")
	p.receive(c, id, u, http.StatusCreated)
}

func (p *publishing) find(c *gin.Context) (string, *unfinished) {
	c.Header("Tus-Resumable", "1.0.0")
	id := c.Param("id")
	p.pmu.Lock()
	u := p.uploads[id]
	p.pmu.Unlock()
	if u == nil {
		fail(c, http.StatusNotFound, "not-found", "There is no such upload.")
	}
	return id, u
}

func (p *publishing) head(c *gin.Context) {
	if _, u := p.find(c); u != nil {
		p.pmu.Lock()
		defer p.pmu.Unlock()
		c.Header("Upload-Offset", strconv.Itoa(u.body.Len()))
		c.Header("Upload-Length", strconv.FormatInt(u.size, 10))
		c.Status(http.StatusOK)
	}
}

func (p *publishing) terminate(c *gin.Context) {
	if id, u := p.find(c); u != nil {
		p.pmu.Lock()
		delete(p.uploads, id)
		p.pmu.Unlock()
		c.Status(http.StatusNoContent)
	}
}

func (p *publishing) patch(c *gin.Context) {
	id, u := p.find(c)
	if u == nil {
		return
	}
	at, _ := strconv.ParseInt(c.GetHeader("Upload-Offset"), 10, 64)
	p.pmu.Lock()
	p.offsets = append(p.offsets, at)
	gate, have := p.gate, int64(u.body.Len())
	p.pmu.Unlock()
	if at != have {
		fail(c, http.StatusConflict, "offset", fmt.Sprintf("The upload is at %d.", have))
		return
	}
	if gate != nil {
		<-gate
	}
	p.receive(c, id, u, http.StatusNoContent)
}

// receive takes the body in and publishes the file when it is whole. It breaks the connection when a cut is due.
func (p *publishing) receive(c *gin.Context, id string, u *unfinished, status int) {
	p.pmu.Lock()
	limit := int64(1 << 40)
	cutting := len(p.cuts) > 0 && status == http.StatusNoContent
	if cutting {
		limit, p.cuts = p.cuts[0]-int64(u.body.Len()), p.cuts[1:]
	}
	p.pmu.Unlock()
	buf := make([]byte, 64<<10)
	for limit > 0 {
		n, err := c.Request.Body.Read(buf[:min(limit, int64(len(buf)))])
		limit -= int64(n)
		p.pmu.Lock()
		u.body.Write(buf[:n])
		p.pmu.Unlock()
		if err != nil {
			break
		}
	}
	if cutting && limit == 0 {
		panic(http.ErrAbortHandler)
	}
	p.pmu.Lock()
	size, body := int64(u.body.Len()), u.body.Bytes()
	p.pmu.Unlock()
	c.Header("Upload-Offset", strconv.FormatInt(size, 10))
	if size == u.size {
		f := p.publish(object.Path(u.meta["path"]), body, u.meta["filetype"], u.meta["tags"])
		c.Header("Perigee-URL", f.json()["url"].(string))
		c.Header("Perigee-Version", string(f.version))
		p.pmu.Lock()
		delete(p.uploads, id)
		p.pmu.Unlock()
	}
	c.Status(status)
}
