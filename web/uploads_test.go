package web

import (
	"encoding/json"
	"testing"
)

// TestUploadsAreTold: listeners hear of uploads under way, and that they are over.
func TestUploadsAreTold(t *testing.T) {
	h := newHub()
	s := &Server{hub: h}
	s.Uploading(UploadProgress{ID: "early", Site: "www", Path: "/early", Received: 1, Size: 10})
	l := h.join(true, everything)
	next := func() []UploadProgress {
		t.Helper()
		h.sendUploads()
		select {
		case f := <-l.frames:
			var data struct{ Uploads []UploadProgress }
			const head = "event: uploads\ndata: "
			if string(f[:len(head)]) != head {
				t.Fatalf("frame %q", f)
			}
			if err := json.Unmarshal(f[len(head):], &data); err != nil {
				t.Fatal(err)
			}
			return data.Uploads
		default:
			return nil
		}
	}
	if got := next(); len(got) != 1 || got[0].Path != "/early" {
		t.Errorf("a newcomer hears %v", got)
	}
	if got := next(); got != nil {
		t.Errorf("nothing has changed, and %v is told", got)
	}
	for range 3 {
		s.Uploading(UploadProgress{ID: "b", Site: "www", Path: "/b", Received: 5, Size: -1})
	}
	s.Uploading(UploadProgress{ID: "early", Done: true})
	if got := next(); len(got) != 1 || got[0].ID != "b" || got[0].Received != 5 {
		t.Errorf("now %v", got)
	}
	s.Uploading(UploadProgress{ID: "b", Done: true})
	if got := next(); got == nil || len(got) != 0 {
		t.Errorf("at the end %v", got)
	}
}
