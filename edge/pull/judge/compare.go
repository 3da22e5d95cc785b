package judge

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// essential are the fields that a 304, or a 206 to If-Range, must have if a 200 had them (RFC 9110 §15.4.5, §15.3.7). Date is looked at elsewhere.
var essential = []string{"Cache-Control", "Content-Location", "Etag", "Expires", "Vary"}

// ownFields are those that a cache writes itself, or that are checked elsewhere.
var ownFields = []string{"Age", "Date", "Content-Length", "Content-Range", "Accept-Ranges", "Via", "Cache-Status", "Connection", "Transfer-Encoding",
	"Warning"}

// fields compares the fields of an answer with those of the version that it stems from.
func (c *Checker) fields(w *verdict, x Exchange, v *version) {
	skip := slices.Clone(ownFields)
	for _, name := range c.Adds {
		skip = append(skip, http.CanonicalHeaderKey(name))
	}
	if _, several := multipartOf(x.Got.Header); several && x.Got.Status == http.StatusPartialContent {
		skip = append(skip, "Content-Type")
	}
	withheld, optional := v.withheld()
	for _, name := range names(v.header) {
		_, present := x.Got.Header[name]
		switch {
		case slices.Contains(skip, name):
		case present && slices.Contains(withheld, name):
			w.must("RFC 9111 §5.2.2", "fields that private or no-cache name are left out", "%s of %s is there", name, v.id)
		case present && !v.equal(x.Got.Header, name):
			w.must("RFC 9111 §3.2", "fields are those stored", "%s: %q instead of %q", name, x.Got.Header[name], v.header[name])
		case !present && !slices.Contains(withheld, name) && !slices.Contains(optional, name) && v.required(x, name):
			w.must("RFC 9111 §3.1", "no field is lost", "%s of %s", name, v.id)
		}
	}
	v.surplus(w, x, skip)
	v.checkDate(w, x)
	v.checkAge(w, x)
}

// withheld are the fields that private="…" and no-cache="…" keep out of an answer from store; of the latter only without validation
// (RFC 9111 §5.2.2.4, §5.2.2.7). optional are those that a cache may leave out: of any other answer, and CDN-Cache-Control, which may be meant
// for it alone.
func (v *version) withheld() (withheld, optional []string) {
	private, _ := v.rules.qualified("private")
	checked, _ := v.rules.qualified("no-cache")
	optional = []string{"Cdn-Cache-Control"}
	if v.from == fromStore {
		return slices.Concat(private, checked), optional
	}
	return nil, slices.Concat(optional, private, checked)
}

// required tells whether an answer of its status needs the field.
func (v *version) required(x Exchange, name string) bool {
	switch x.Got.Status {
	case http.StatusNotModified:
		return slices.Contains(essential, name)
	case http.StatusPartialContent:
		return x.Client.Header.Get("If-Range") == "" || slices.Contains(essential, name)
	}
	return true
}

// equal tells whether a field has its stored value, or the one from before an update where a cache may keep that.
func (v *version) equal(h http.Header, name string) bool {
	_, kept := v.alt[name]
	return sameField(h, v.header, name) || kept && name != "Date" && sameField(h, v.alt, name)
}

// surplus notes fields that the stored response has not, above all those that were for one connection.
func (v *version) surplus(w *verdict, x Exchange, skip []string) {
	for _, name := range names(x.Got.Header) {
		_, known := v.header[name]
		_, hop := v.hop[name]
		_, kept := v.alt[name]
		switch {
		case name != "Connection" && name != "Transfer-Encoding" && hop && sameField(x.Got.Header, v.hop, name):
			w.must("RFC 9110 §7.6.1", "fields for one connection are not passed on", "%s of %s", name, v.id)
		case !known && !kept && !slices.Contains(skip, name):
			w.must("RFC 9111 §3.1", "no field is made up", "%s: %s", name, strings.Join(x.Got.Header[name], ", "))
		}
	}
}

// checkDate: Date stays as it was; one that was missing is when the response was received, one that was invalid may become that (RFC 9110 §6.6.1).
func (v *version) checkDate(w *verdict, x Exchange) {
	if sameField(x.Got.Header, v.header, "Date") && v.header.Get("Date") != "" {
		return
	}
	if old := v.alt["Date"]; v.header.Get("Date") == "" && old != nil && sameField(x.Got.Header, v.alt, "Date") {
		return
	}
	t, ok := parseDate(x.Got.Header.Get("Date"), v.got)
	_, valid := parseDate(v.header.Get("Date"), v.got)
	if valid || !ok || t.Before(v.sent.Add(-time.Second)) || t.After(v.got.Add(time.Second)) {
		w.must("RFC 9110 §6.6.1", "Date is that of the stored response", "%q instead of %q, received %s", x.Got.Header.Get("Date"),
			v.header.Get("Date"), v.got.UTC().Format(time.DateTime))
	}
}

// checkAge: an answer from store that was not validated has Age, right within a second (RFC 9111 §4, §5.1). Others may have it, and keep that of the
// origin if it was valid.
func (v *version) checkAge(w *verdict, x Exchange) {
	lines, present := x.Got.Header["Age"]
	field, valid := v.ageField()
	if !present {
		if v.from == fromStore {
			w.must("RFC 9111 §4", "an answer from store has Age", "%s without", v.id)
		} else if v.header.Get("Age") != "" && valid {
			w.must("RFC 9111 §5.1", "Age is passed on", "Age: %d of %s", field, v.id)
		}
		return
	}
	raw := v.from != fromStore && slices.Equal(lines, v.header["Age"])
	n, ok := digits(lines[0])
	least, _ := v.age(x.Client.At)
	_, most := v.age(x.Got.At)
	switch {
	case raw:
	case len(lines) != 1 || !ok:
		w.must("RFC 9111 §5.1", "Age is one number of seconds", "%q", lines)
	case n < least-1 || n > most+1 && valid && !v.oldAge:
		w.must("RFC 9111 §4.2.3", "Age is the current age", "%d instead of %d to %d", n, least, most)
	}
}
