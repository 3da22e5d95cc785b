package web

import (
	"slices"
	"strings"

	"perigee/object"
)

// UploadProgress is how far an upload is that takes more than a second; package upload's Progress.
type UploadProgress struct {
	ID       string      `json:"id"`
	Site     object.Site `json:"site,omitempty"`
	Path     object.Path `json:"path,omitempty"`
	Received int64       `json:"received"` // bytes
	Size     int64       `json:"size"`     // bytes; -1 when not known
	Done     bool        `json:"done,omitempty"`
}

// The bounds of what uploads under way can cost.
const (
	maxUploading = 10_000
	// shownUploading is how many of them listeners are told of.
	shownUploading = 100
)

// uploading is what the server is receiving; hub.mu guards it.
type uploading struct {
	now     map[string]UploadProgress // by id
	changed bool                      // since listeners were told
}

// Uploading tells the listeners of GET /api/v1/events how far an upload is, all uploads together once a second. It does not block.
func (s *Server) Uploading(p UploadProgress) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	u := &h.uploading
	if _, known := u.now[p.ID]; p.Done {
		delete(u.now, p.ID)
	} else if known || len(u.now) < maxUploading {
		u.now[p.ID] = p
	}
	u.changed = true
}

// sendUploads tells listeners of the uploads under way, if something has changed: the event "uploads".
func (h *hub) sendUploads() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.uploading.changed || len(h.listeners) == 0 {
		return
	}
	h.uploading.changed = false
	list := make([]UploadProgress, 0, len(h.uploading.now))
	for _, p := range h.uploading.now {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b UploadProgress) int {
		return strings.Compare(string(a.Site)+string(a.Path)+a.ID, string(b.Site)+string(b.Path)+b.ID)
	})
	for l := range h.listeners {
		seen := slices.DeleteFunc(slices.Clone(list), func(p UploadProgress) bool { return !l.sees(p.Site, string(p.Path)) })
		l.queue(frame("uploads", map[string]any{"uploads": seen[:min(len(seen), shownUploading)], "all": len(seen)}))
	}
}
