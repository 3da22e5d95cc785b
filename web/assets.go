package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/gin-gonic/gin"
)

// built is the front end as `make console` left it; only .gitkeep in a plain checkout.
//
//go:embed all:dist
var built embed.FS

// The style sheet and icon serve the page with and without scripts, so they come from the sources and need no build.
//
//go:embed console/style/*.css console/icon.svg
var plain embed.FS

const assetPrefix = "/assets/"

// assets are the files below assetPrefix. Their names carry a hash of their content, so that browsers may keep
// them for ever. Immutable after loadAssets.
type assets struct {
	files  map[string]asset
	style  string // URL of the style sheet
	icon   string
	script string // URL of the front end; empty when it was not built
	// licences is the URL of the licence texts of what the front end bundles; empty when it was not built.
	licences string
}

type asset struct {
	body, gz    []byte // gz is nil when compression does not pay
	contentType string
}

// loadAssets reads the built front end, if there is one, and the plain files.
func loadAssets(dist fs.FS) (*assets, error) {
	a := &assets{files: map[string]asset{}}
	sheets, err := fs.Glob(plain, "console/style/*.css") // sorted; their names begin with their order
	if err != nil {
		return nil, err
	}
	var style []byte
	for _, name := range sheets {
		b, err := plain.ReadFile(name)
		if err != nil {
			return nil, err
		}
		style = append(style, b...)
	}
	if a.style, err = a.addHashed("style.css", style); err != nil {
		return nil, err
	}
	icon, err := plain.ReadFile("console/icon.svg")
	if err != nil {
		return nil, err
	}
	if a.icon, err = a.addHashed("icon.svg", icon); err != nil {
		return nil, err
	}
	return a, a.addBuilt(dist)
}

// addHashed adds a file under a name with a hash of its content, and returns its URL.
func (a *assets) addHashed(name string, body []byte) (url string, err error) {
	sum := sha256.Sum256(body)
	ext := path.Ext(name)
	hashed := strings.TrimSuffix(name, ext) + "-" + hex.EncodeToString(sum[:5]) + ext
	return assetPrefix + hashed, a.add(hashed, body)
}

func (a *assets) addBuilt(dist fs.FS) error {
	raw, err := fs.ReadFile(dist, "dist/.vite/manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var manifest map[string]struct {
		File    string `json:"file"`
		IsEntry bool   `json:"isEntry"`
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return fmt.Errorf("read dist/.vite/manifest.json: %w; build the console again", err)
	}
	for _, chunk := range manifest {
		b, err := fs.ReadFile(dist, "dist/"+chunk.File)
		if err != nil {
			return fmt.Errorf("%w; build the console again", err)
		}
		name := strings.TrimPrefix(chunk.File, "assets/")
		if err := a.add(name, b); err != nil {
			return err
		}
		if chunk.IsEntry {
			a.script = assetPrefix + name
		}
	}
	licences, err := fs.ReadFile(dist, "dist/.vite/license.md")
	if err != nil {
		return fmt.Errorf("%w; build the console again", err)
	}
	a.licences, err = a.addHashed("licences.txt", licences)
	return err
}

func (a *assets) add(name string, body []byte) error {
	f := asset{body: body, contentType: mime.TypeByExtension(path.Ext(name))}
	switch path.Ext(name) { // the system's table may lack or override these
	case ".js":
		f.contentType = "text/javascript; charset=utf-8"
	case ".css":
		f.contentType = "text/css; charset=utf-8"
	case ".svg":
		f.contentType = "image/svg+xml"
	case ".txt":
		f.contentType = "text/plain; charset=utf-8"
	}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if z.Len() < len(body)*9/10 {
		f.gz = z.Bytes()
	}
	a.files[name] = f
	return nil
}

func (s *Server) asset(c *gin.Context) {
	f, ok := s.assets.files[strings.TrimPrefix(c.Param("name"), "/")]
	if !ok {
		fail(c, http.StatusNotFound, "not-found", "There is no such part of the console. Reload the page: it may come from an older version.")
		return
	}
	h := c.Writer.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'") // the icon styles itself
	h.Set("Vary", "Accept-Encoding")
	body := f.body
	if f.gz != nil && acceptsGzip(c.GetHeader("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = f.gz
	}
	c.Data(http.StatusOK, f.contentType, body)
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3) as far as it matters here: gzip named and not with q=0.
func acceptsGzip(field string) bool {
	for part := range strings.SplitSeq(field, ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		q, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		return !ok || strings.Trim(q, "0.") != ""
	}
	return false
}
