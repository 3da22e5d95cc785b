package origin_test

import (
	"errors"
	"testing"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/origintest"
)

func TestSites(t *testing.T) {
	s := origintest.Start(t)
	w, err := origin.NewWriter(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r, err := origin.NewReader(s.EdgeConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	record := func(site object.Site) []byte {
		return object.MarshalSite(object.SiteRecord{Format: 1, Site: site, Kind: object.Published, Version: "0000000000000000"})
	}
	for key, body := range map[object.Key][]byte{
		object.SiteKey("docs"):    record("docs"),
		object.SiteKey("damaged"): []byte("{"),
		object.SiteKey("foreign"): record("docs"),
		object.SiteKey("www"):     record("www"),
		"t/other":                 []byte("no record"),
	} {
		if _, err := w.Put(t.Context(), key, body, origin.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var good []object.Site
	invalid := 0
	for rec, err := range r.Sites(t.Context()) {
		switch {
		case err == nil:
			good = append(good, rec.Site)
		case errors.Is(err, object.ErrInvalid):
			invalid++
		default:
			t.Fatal(err)
		}
	}
	if len(good) != 2 || good[0] != "docs" || good[1] != "www" || invalid != 2 {
		t.Fatalf("found %v and %d invalid ones", good, invalid)
	}
	if _, err := w.Put(t.Context(), object.SiteKey("large"), make([]byte, 65<<10), origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range r.Sites(t.Context()) {
		last = err
	}
	if last == nil {
		t.Fatal("a record of 65 KiB was read")
	}
}
