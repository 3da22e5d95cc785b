package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"perigee/problem"
)

// list is a list of the API, and how its items are told apart.
type list struct {
	path  []string // of the operation
	items string   // member of a page
	id    string   // member of an item
}

// lists are all lists of the API by their operation. Of each there are at least five items.
var lists = map[string]list{
	"listFiles":    {path: []string{"www"}, items: "files", id: "path"},
	"listVersions": {path: []string{"www", "f0"}, items: "versions", id: "version"},
	"listUploads":  {items: "uploads", id: "id"},
	"listSites":    {items: "sites", id: "site"},
	"listWatches":  {items: "watches", id: "site"},
	"listKeys":     {items: "keys", id: "id"},
	"listPurges":   {items: "purges", id: "id"},
	"listAudit":    {items: "entries", id: "id"},
	"getFleet":     {items: "nodes", id: "node"},
}

// fill makes what the lists have.
func (d *driver) fill() {
	d.key = d.member(d.call("createKey", 201, request{body: `{"name":"driver","scopes":["admin"]}`}), "key")
	for i := range 5 {
		d.call("createKey", 201, request{body: fmt.Sprintf(`{"name":"key %d","scopes":["read"]}`, i)})
		d.call("createSite", 201, request{body: fmt.Sprintf(`{"site":"bucket%d","kind":"bucket","bucket":{"prefix":"bucket%[1]d/"}}`, i)})
		d.call("putFile", 201, request{path: []string{"www", fmt.Sprintf("f%d", i)}, body: "x"})
		if i > 0 {
			d.call("putFile", 200, request{path: []string{"www", "f0"}, body: fmt.Sprint(i)})
		}
		d.call("purge", 202, request{path: []string{"www"}, body: `{"all":true}`})
		d.call("directCreate", 201, request{body: fmt.Sprintf(`{"site":"www","path":"/u%d","size":5}`, i)})
	}
}

// page asks for a page and returns the ids of its items and the next cursor.
func (d *driver) page(id string, l list, limit int, cursor string) (ids []string, next string) {
	d.t.Helper()
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	a := d.call(id, http.StatusOK, request{path: l.path, query: q})
	var page map[string]json.RawMessage
	var items []map[string]any
	if err := json.Unmarshal(a.Body, &page); err != nil || json.Unmarshal(page[l.items], &items) != nil || items == nil {
		d.t.Fatalf("%s: %v: %s", id, err, a.Body)
	}
	if raw, ok := page["next"]; ok && json.Unmarshal(raw, &next) != nil {
		d.t.Fatalf("%s: next is %s", id, raw)
	}
	for _, item := range items {
		ids = append(ids, fmt.Sprint(item[l.id]))
	}
	return ids, next
}

// TestEveryListIsPaged: each list of the API honours limit, goes on at the cursor, has every item once whatever the size of its pages, and refuses a limit or
// a cursor that is none.
func TestEveryListIsPaged(t *testing.T) {
	s := upPublic(t)
	d := &driver{t: t, s: s, good: map[string]int{}, bad: map[string]int{}}
	text, err := do(fetchClient(s.API), must(http.NewRequest(http.MethodGet, s.URL("/api/v1/openapi.json"), nil)))
	ok(t, err)
	d.spec = readSpec(t, text.Body)
	for id, o := range d.spec.operations {
		pages := slices.ContainsFunc(o.Parameters, func(p specParameter) bool { return p.Name == "cursor" })
		if _, known := lists[id]; known != pages || strings.HasPrefix(id, "list") && !known {
			t.Errorf("%s: it takes a cursor: %v, and is a list of this test: %v", id, pages, known)
		}
	}
	d.fill()
	eventually(t, "all five nodes have reported", func() bool { ids, _ := d.page("getFleet", lists["getFleet"], 1000, ""); return len(ids) >= 5 })
	for id, l := range lists {
		d.walk(id, l)
	}
}

// walk goes through one list by pages of several sizes.
func (d *driver) walk(id string, l list) {
	d.t.Helper()
	whole, next := d.page(id, l, 1000, "")
	if distinct := slices.Compact(slices.Sorted(slices.Values(whole))); len(whole) < 5 || next != "" || len(distinct) != len(whole) {
		d.t.Errorf("%s: all at once are %q, next %q", id, whole, next)
		return
	}
	for _, limit := range []int{1, 2, len(whole)} {
		var walked []string
		for cursor, pages := "", 0; ; pages++ {
			ids, next := d.page(id, l, limit, cursor)
			if len(ids) > limit || next != "" && len(ids) == 0 || pages > len(whole) {
				d.t.Errorf("%s: page %d with limit %d has %d items, next %q", id, pages, limit, len(ids), next)
				break
			}
			if walked = append(walked, ids...); next == "" {
				break
			}
			cursor = next
		}
		if !slices.Equal(walked, whole) {
			d.t.Errorf("%s: by pages of %d they are %q, all at once %q", id, limit, walked, whole)
		}
	}
	for _, bad := range []url.Values{{"cursor": {"?"}}, {"cursor": {"a b"}}, {"limit": {"0"}}, {"limit": {"1001"}}, {"limit": {"many"}}, {"limit": {"-1"}}} {
		a := d.call(id, http.StatusBadRequest, request{path: l.path, query: bad})
		var p problem.Document
		if err := json.Unmarshal(a.Body, &p); err != nil || problem.KindOf(p.Type) != "invalid" {
			d.t.Errorf("%s with %v: %v, %s", id, bad, err, a.Body)
		}
	}
}
