package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/geo/geotest"
)

// geoFixture writes a database that knows the whole of the address space, built some days after geotest.Epoch.
func geoFixture(t *testing.T, name, country string, day int64) string {
	t.Helper()
	r := geotest.Records{"0.0.0.0/0": geotest.In(geotest.Nested("DE", "Munich", 48.1, 11.6), "BY"), "2000::/3": geotest.Nested("DE", "", 50, 8),
		"8.8.8.0/24": geotest.Nested(country, "", 52, 5)}
	path := filepath.Join(t.TempDir(), name)
	geotest.WriteFile(t, path, "GeoLite2-City", geotest.Epoch+86400*day, r)
	return path
}

func TestGeoLookupAndInfoOfSeveralFiles(t *testing.T) {
	city := geoFixture(t, "city.mmdb", "NL", 0)
	asn := filepath.Join(t.TempDir(), "asn.mmdb")
	geotest.WriteFile(t, asn, "GeoLite2-ASN", geotest.Epoch, geotest.Records{"8.8.8.0/24": geotest.Owner(15169, "Google")})
	r := perigee(t, nil, "geo", "lookup", "--geo", city, "--geo", asn, "8.8.8.8", "1.2.3.4", "fc00::1").want(t, 0)
	for _, want := range []string{"8.8.8.0/24", "AS15169", "EU", "DE-BY", "Munich", "unknown"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	answers := jsonLines[geoAnswer](t, perigee(t, nil, "geo", "lookup", "--json", "--geo", city, "--geo", asn, "8.8.8.8").want(t, 0).out)
	if a := answers[0]; len(answers) != 1 || a.ASN != 15169 || a.Continent != "EU" || a.Network != netip.MustParsePrefix("8.8.8.0/24") {
		t.Errorf("%+v", answers)
	}
	var p geo.Passport
	r = perigee(t, nil, "geo", "info", "--json", "--geo", city, "--geo", asn).want(t, 0)
	if err := json.Unmarshal([]byte(r.out), &p); err != nil || len(p.Files) != 2 || p.ASNs != 1 || p.Coverage.IPv4 != 1 || p.Embedded {
		t.Errorf("%+v, %v", p, err)
	}
	r = perigee(t, nil, "geo", "info", "--geo", city).want(t, 0)
	for _, want := range []string{"100.00 % of unicast IPv4", "GeoLite2 End User License Agreement", "MaxMind", "sha256", "days ago"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
}

func TestGeoDiff(t *testing.T) {
	old, next := geoFixture(t, "old.mmdb", "NL", 0), geoFixture(t, "next.mmdb", "JP", 1)
	r := perigee(t, nil, "geo", "diff", old, next).want(t, 0)
	for _, want := range []string{"known before", "100.000 %", "8.8.8.0/24", "NL", "JP"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	var d struct {
		Old, New geo.Passport
		geo.Difference
	}
	r = perigee(t, nil, "geo", "diff", "--json", "--top", "5", old, next).want(t, 0)
	if err := json.Unmarshal([]byte(r.out), &d); err != nil || len(d.Largest) != 1 || d.IPv4.Moved <= 0 || d.IPv4.Moved != d.IPv4.Country || !d.New.Built.After(d.Old.Built) {
		t.Errorf("%+v, %v", d, err)
	}
	r = perigee(t, nil, "geo", "diff", "--json", old, old).want(t, 0)
	if !strings.Contains(r.out, `"largest": []`) {
		t.Error(r.out)
	}
	perigee(t, nil, "geo", "diff", builtInData, next).want(t, 0)
	perigee(t, nil, "geo", "diff", old, "/none.mmdb").want(t, 1)
	perigee(t, nil, "geo", "diff", "--km=-1", old, next).want(t, 1)
}

// TestGeoUpdateForceAndRollback: what the operator says reaches the files, and what has to know of it.
func TestGeoUpdateForceAndRollback(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	run := func(code int, args ...string) result {
		t.Helper()
		return perigee(t, nil, append(append([]string{"geo"}, args...), "--data", dir)...).want(t, code)
	}
	country := func() string {
		t.Helper()
		return jsonLines[geoAnswer](t, run(0, "lookup", "--json", "8.8.8.8").out)[0].Country
	}
	one, two, older := geoFixture(t, "1.mmdb", "NL", 1), geoFixture(t, "2.mmdb", "SE", 2), geoFixture(t, "0.mmdb", "FR", 0)
	run(1, "rollback")
	run(0, "update", one)
	if got := country(); got != "NL" {
		t.Fatalf("after the first update: %s", got)
	}
	run(0, "update", two)
	if r := run(1, "update", older); !strings.Contains(r.errOut, "it was built on") {
		t.Error(r.errOut)
	}
	if got := country(); got != "SE" {
		t.Errorf("a refused file was put in place: %s", got)
	}
	run(0, "rollback")
	if got := country(); got != "NL" {
		t.Errorf("after the rollback: %s", got)
	}
	if r := run(1, "update", two); !strings.Contains(r.errOut, "rolled back") {
		t.Error(r.errOut)
	}
	run(0, "update", "--force", two)
	run(0, "update", "--force", older)
	if got := country(); got != "FR" {
		t.Errorf("after force: %s", got)
	}
	id, err := geo.Identity(older)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := geo.ReadVerdict(filepath.Join(dir, "geo.mmdb")); err != nil || v.Accept != id {
		t.Errorf("%+v, %v", v, err)
	}
	if r := run(1, "update", one, two); !strings.Contains(r.errOut, "one for each") {
		t.Error(r.errOut)
	}
	if r := run(1, "update"); !strings.Contains(r.errOut, "dns.geo_update.url") {
		t.Error(r.errOut)
	}
}

func TestGeoUpdateFetches(t *testing.T) {
	data, err := os.ReadFile(geoFixture(t, "geo.mmdb", "NL", 0))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked++
		if user, key, _ := q.BasicAuth(); user != "7" || key != "secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("ETag", `"1"`)
		if q.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(data)
	}))
	defer server.Close()
	dir := t.TempDir()
	update := func(code int, more ...string) result {
		t.Helper()
		args := []string{"geo", "update", "--data", dir, "--set", "dns.geo_update.url=" + server.URL + "/geo.mmdb", "--set", "dns.geo_update.account=7"}
		return perigee(t, []string{"PERIGEE_DNS_GEO_UPDATE_LICENSE_KEY=secret"}, append(args, more...)...).want(t, code)
	}
	if r := update(1); !strings.Contains(r.errOut, "not allowed") || asked != 0 {
		t.Errorf("%d requests: %s", asked, r.errOut)
	}
	const allow = "dns.geo_update.allow=127.0.0.0/8"
	if r := update(0, "--set", allow); !strings.HasPrefix(r.out, "updated: ") {
		t.Error(r.out)
	}
	if r := update(0, "--set", allow); !strings.HasPrefix(r.out, "unchanged: ") {
		t.Error(r.out)
	}
	if r := update(1, "--set", allow, "--set", "dns.geo_update.license_key=wrong"); !strings.Contains(r.errOut, "license_key") || strings.Contains(r.errOut, "wrong") {
		t.Error(r.errOut)
	}
	var report map[string]any
	if err := json.Unmarshal([]byte(update(0, "--json", "--set", allow).out), &report); err != nil || fmt.Sprint(report["result"]) != "unchanged" {
		t.Errorf("%v, %v", report, err)
	}
}

func TestSpan(t *testing.T) {
	for _, x := range []struct{ first, last, want string }{
		{"8.8.8.0", "8.8.8.255", "8.8.8.0/24"}, {"8.8.8.8", "8.8.8.8", "8.8.8.8/32"}, {"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"8.8.8.1", "8.8.8.2", "8.8.8.1 to 8.8.8.2"}, {"2a00::", "2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2a00::/16"},
	} {
		if got := span(netip.MustParseAddr(x.first), netip.MustParseAddr(x.last)); got != x.want {
			t.Errorf("%s to %s: %s, want %s", x.first, x.last, got, x.want)
		}
	}
}
