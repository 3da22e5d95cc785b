package web

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/keys"
	"perigee/object"
	"perigee/purge"
)

// Contents erases what was published, and tells of the blobs that are going to be deleted because nobody needs them. Safe for concurrent use.
type Contents interface {
	// EraseFiles erases all versions of each path. A path that was never published is fs.ErrNotExist; with an error comes what was done before it.
	EraseFiles(ctx context.Context, site object.Site, paths ...object.Path) (Erased, error)
	// EraseContent erases every version whose content has that hash, of one site, or of all if site is "". There may be none.
	EraseContent(ctx context.Context, hash object.Hash, site object.Site) (Erased, error)
	// Garbage tells what is condemned, up to limit blobs of it.
	Garbage(ctx context.Context, limit int) (Garbage, error)
	// Collect does one round of the collector now.
	Collect(ctx context.Context) error
}

// Erased says what became of an order to erase; see package upload.
type Erased struct {
	ID            string         `json:"id"`
	Position      purge.Position `json:"position"`
	Files         int            `json:"files"`
	Versions      int            `json:"versions"`
	Blobs         int            `json:"blobs"`
	KeptHere      int            `json:"kept_here"`
	KeptElsewhere int            `json:"kept_elsewhere"`
	Unfinished    int            `json:"unfinished"`
}

// erasedAnswer is Erased with how far it has been applied.
type erasedAnswer struct {
	Erased
	Effective bool        `json:"effective"`
	Edges     []EdgeProof `json:"edges"`
}

// Garbage is what the collector has before it.
type Garbage struct {
	// After is how long, in seconds, a blob must have been needed by nobody before it is deleted.
	After     int64     `json:"after"`
	Condemned Heap      `json:"condemned"` // needed by nobody, and still there
	Deleting  Heap      `json:"deleting"`  // being deleted, or deleted and not forgotten
	Done      Collected `json:"done"`
	Strays    *Strays   `json:"strays,omitempty"`
	Blobs     []Blob    `json:"blobs"` // the condemned, those first that go first
}

// Heap counts blobs and their bytes.
type Heap struct {
	Blobs int64 `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

// Collected is what the collector has done since the start of the API.
type Collected struct {
	Deleted      int64 `json:"deleted"`
	DeletedBytes int64 `json:"deleted_bytes"`
	Kept         int64 `json:"kept"`
	Dropped      int64 `json:"dropped"`
	Removed      int64 `json:"removed"`
	Failures     int64 `json:"failures"`
}

// Strays are objects of the bucket that the catalogue does not know, as of a moment.
type Strays struct {
	At       time.Time `json:"at"`
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Examples []string  `json:"examples"` // keys
}

// Blob is a blob that is condemned.
type Blob struct {
	Key    object.Key  `json:"key"`
	SHA256 object.Hash `json:"sha256"`
	Size   int64       `json:"size"` // bytes
	Since  time.Time   `json:"since"`
	Due    time.Time   `json:"due"` // when it may be deleted
}

// maxErasePaths is how many paths one request may name.
const maxErasePaths = 100

// eraseBody is the body of POST /api/v1/sites/{site}/erase, and of POST /api/v1/erase, which has no paths.
type eraseBody struct {
	Paths  []string `json:"paths"`
	SHA256 string   `json:"sha256"`
}

func (s *Server) erase(c *gin.Context) {
	site, err := object.ParseSite(c.Param("site"))
	if err == nil {
		err = s.storedSite(c.Request.Context(), site)
	}
	if err != nil {
		s.failWith(c, "read the site", err)
		return
	}
	s.eraseIn(c, site)
}

// storedSite returns fs.ErrNotExist for a site that there is not, and object.ErrKind for one whose content is not stored here.
func (s *Server) storedSite(ctx context.Context, site object.Site) error {
	all, err := s.cfg.Sites.Sites(ctx)
	if err != nil {
		return fmt.Errorf("list sites: %w", err)
	}
	for _, r := range all {
		if r.Site == site {
			return r.Stored()
		}
	}
	return fmt.Errorf("site %s: %w", site, fs.ErrNotExist)
}

func (s *Server) eraseEverywhere(c *gin.Context) {
	if allowWhole(c, keys.ScopeAdmin) {
		s.eraseIn(c, "")
	}
}

// mayErase returns nil if the sender may erase paths of a site or, if there are none, a content wherever the site has it.
func mayErase(ctx context.Context, site object.Site, paths []object.Path) error {
	if len(paths) == 0 {
		return keys.CheckSite(ctx, keys.ScopePublish, site)
	}
	for _, p := range paths {
		if err := keys.CheckUnder(ctx, keys.ScopePublish, site, string(p)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) eraseIn(c *gin.Context, site object.Site) {
	wait, ok := waitParam(c)
	var body eraseBody
	if !ok || !s.readJSON(c, &body) {
		return
	}
	paths, hash, err := body.parse(site)
	if err != nil {
		s.failWith(c, "read what to erase", err)
		return
	}
	if site != "" && !allow(c, mayErase(c.Request.Context(), site, paths)) {
		return
	}
	sum, err := s.eraseAll(c.Request.Context(), site, paths, hash)
	who, _ := keys.FromContext(c.Request.Context())
	s.cfg.Log.Info("erase ordered", "by", who.ID, "site", site, "paths", len(paths), "sha256", body.SHA256, "files", sum.Files, "versions", sum.Versions,
		"blobs", sum.Blobs, "kept_here", sum.KeptHere, "kept_elsewhere", sum.KeptElsewhere, "unfinished", sum.Unfinished, "entry", sum.ID,
		"request", requestID(c), "err", err)
	if !s.note(c, erasure(site, paths, body.SHA256, sum, err)) {
		return
	}
	if err != nil {
		s.failWith(c, "erase", err)
		return
	}
	s.answerErased(c, sum, wait)
}

func (s *Server) eraseAll(ctx context.Context, site object.Site, paths []object.Path, hash object.Hash) (Erased, error) {
	if len(paths) == 0 {
		return s.cfg.Contents.EraseContent(ctx, hash, site)
	}
	return s.cfg.Contents.EraseFiles(ctx, site, paths...)
}

// erasure is what the audit log says of an erase.
func erasure(site object.Site, paths []object.Path, hash string, sum Erased, err error) catalog.AuditEntry {
	e := catalog.AuditEntry{
		Action: catalog.ContentErased, Site: site, Object: hash,
		Detail: fmt.Sprintf("%d files, %d versions, %d blobs; %d blobs are kept; %d removals are unfinished", sum.Files, sum.Versions, sum.Blobs, sum.KeptHere+sum.KeptElsewhere, sum.Unfinished),
	}
	for _, p := range paths {
		e.Object += " " + string(p)
	}
	e.Object = strings.TrimSpace(e.Object)
	if err != nil {
		e.Outcome = catalog.OutcomeFailed
	}
	return e
}

// parse checks what the client named: paths of a site, or a hash. Errors wrap object.ErrInvalid.
func (b *eraseBody) parse(site object.Site) (paths []object.Path, hash object.Hash, err error) {
	switch {
	case len(b.Paths) > 0 == (b.SHA256 != ""):
		return nil, hash, fmt.Errorf(`erase: %w: give either "paths" or "sha256"`, object.ErrInvalid)
	case len(b.Paths) > 0 && site == "":
		return nil, hash, fmt.Errorf("erase: %w: paths are those of a site: POST /api/v1/sites/{site}/erase", object.ErrInvalid)
	case len(b.Paths) > maxErasePaths:
		return nil, hash, fmt.Errorf("erase: %w: it names %d paths, the limit is %d", object.ErrInvalid, len(b.Paths), maxErasePaths)
	case b.SHA256 != "":
		hash, err = object.ParseHash(b.SHA256)
		return nil, hash, err
	}
	for _, raw := range b.Paths {
		p, err := object.ParsePath(raw)
		if err != nil {
			return nil, hash, err
		}
		paths = append(paths, p)
	}
	return paths, hash, nil
}

// answerErased answers 200 when all is done, on all edges if it was waited for, and 202 when something is still to come.
func (s *Server) answerErased(c *gin.Context, sum Erased, wait time.Duration) {
	out := erasedAnswer{Erased: sum, Edges: []EdgeProof{}, Effective: sum.ID == "" && sum.Unfinished == 0}
	if sum.ID != "" {
		p, err := s.cfg.Purges.Proof(sum.ID)
		if err == nil && wait > 0 {
			p, err = s.awaitProof(c.Request.Context(), sum.ID, wait)
		}
		if err != nil {
			s.failWith(c, "prove "+sum.ID+", which was recorded", err)
			return
		}
		out.Position, out.Edges, out.Effective = p.Position, p.Edges, p.Effective && sum.Unfinished == 0
	}
	status := http.StatusAccepted
	if out.Effective {
		status = http.StatusOK
	}
	c.JSON(status, out)
}

// maxGarbage is how many blobs one answer lists.
const maxGarbage = 100

func (s *Server) garbage(c *gin.Context) {
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	g, err := s.cfg.Contents.Garbage(c.Request.Context(), maxGarbage)
	if err != nil {
		s.failWith(c, "look at what is condemned", err)
		return
	}
	if g.Blobs == nil {
		g.Blobs = []Blob{}
	}
	if g.Strays != nil && g.Strays.Examples == nil {
		told := *g.Strays // the collector's own stays as it is
		told.Examples = []string{}
		g.Strays = &told
	}
	c.JSON(http.StatusOK, g)
}

func (s *Server) collect(c *gin.Context) {
	if !allowWhole(c, keys.ScopeAdmin) {
		return
	}
	if err := s.cfg.Contents.Collect(c.Request.Context()); err != nil {
		s.failWith(c, "collect", err)
		return
	}
	s.garbage(c)
}
