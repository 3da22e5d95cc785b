package perigee_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"
)

// tidy is a module without a breach; each case below spoils it in one way.
var tidy = map[string]string{
	"object/key.go":              "// Package object is a vocabulary.\npackage object\n\nimport \"strings\"\n\nvar _ = strings.ToLower\n",
	"clock/clock.go":             "// Package clock is the door to time.\npackage clock\n\nimport \"time\"\n\nvar _ = time.Now\n",
	"catalog/catalog.go":         "// Package catalog knows.\npackage catalog\n\nimport _ \"database/sql\"\n",
	"keys/keys.go":               "// Package keys opens doors.\npackage keys\n\nimport _ \"perigee/object\"\n",
	"keys/keys_test.go":          "package keys\n\nimport \"time\"\n\nvar _ = time.Now()\n",
	"edge/edge.go":               "// Package edge reads.\npackage edge\n\nimport _ \"perigee/edge/cache\"\nimport _ \"perigee/keys\"\nimport _ \"perigee/dnsgeo/geo\"\n",
	"edge/cache/cache.go":        "// Package cache holds.\npackage cache\n",
	"upload/upload.go":           "// Package upload writes.\npackage upload\n\nimport _ \"perigee/catalog\"\nimport _ \"github.com/gin-gonic/gin\"\n",
	"origin/s3/get.go":           "// Package s3 fetches.\npackage s3\n\nimport _ \"github.com/minio/minio-go/v7\"\n",
	"dnsgeo/dns.go":              "// Package dnsgeo answers.\npackage dnsgeo\n\nimport _ \"github.com/miekg/dns\"\nimport _ \"perigee/dnsgeo/geo\"\n",
	"dnsgeo/geo/geo.go":          "// Package geo places.\npackage geo\n\nimport _ \"github.com/oschwald/maxminddb-golang/v2\"\n",
	"fleet/bus/bus.go":           "// Package bus carries.\npackage bus\n\nimport _ \"github.com/nats-io/nats.go\"\n",
	"cmd/perigee/main.go":        "// Perigee is the program.\npackage main\n\nimport _ \"perigee/edge\"\nimport _ \"perigee/upload\"\nimport \"time\"\n\nvar _ = time.Now\n",
	"web/node_modules/x/bad.go":  "package util\n\nfunc init() {}\n",
	"object/testdata/broken.go":  "this is not Go",
	".hidden/util/bad.go":        "package util\n",
	"web/console/readme.txt":     "not Go either",
	"scripts/report/generate.go": "// Command report reports.\npackage main\n\nimport _ \"flag\"\n",
}

func TestRulesCatchEachBreach(t *testing.T) {
	long := strings.Repeat("\n", 500)
	for _, c := range []struct {
		name, file, text string
		want             string // part of the one breach that must be found; "" for none
	}{
		{"tidy", "keys/more.go", "package keys\n", ""},

		{"face imports face", "edge/x.go", "package edge\n\nimport _ \"perigee/upload\"\n", "edge/x.go:3: edge imports face upload"},
		{"part of a face imports face", "edge/cache/x.go", "package cache\n\nimport _ \"perigee/dnsgeo\"\n", "edge/cache imports face dnsgeo"},
		{"face in a test of a face", "upload/x_test.go", "package upload_test\n\nimport _ \"perigee/edge\"\n", "upload imports face edge"},
		{"library imports face", "keys/x.go", "package keys\n\nimport _ \"perigee/dnsgeo\"\n", "keys imports face dnsgeo"},
		{"whole-system test imports faces", "e2e/x_test.go", "package e2e\n\nimport _ \"perigee/edge\"\nimport _ \"perigee/upload\"\n", ""},
		{"face imports its own part", "edge/x.go", "package edge\n\nimport c \"perigee/edge/cache\"\n\nvar _ = c.X\n", ""},
		{"command imported", "keys/x.go", "package keys\n\nimport _ \"perigee/cmd/perigee\"\n", "nothing imports cmd"},

		{"edge imports catalogue", "edge/x.go", "package edge\n\nimport _ \"perigee/catalog\"\n", "edge: must serve without deciding, but imports catalog"},
		{"dns imports SQL", "dnsgeo/x.go", "package dnsgeo\n\nimport _ \"database/sql/driver\"\n", "dnsgeo: must serve without deciding"},
		{"origin reaches SQL through another", "keys/x.go", "package keys\n\nimport _ \"modernc.org/sqlite\"\n", "edge: must serve without deciding, but imports keys -> modernc.org/sqlite"},

		{"S3 outside origin", "edge/x.go", "package edge\n\nimport _ \"github.com/aws/aws-sdk-go-v2/service/s3\"\n", "edge imports github.com/aws/aws-sdk-go-v2/service/s3 (an S3 SDK)"},
		{"S3 in a test outside origin", "upload/x_test.go", "package upload\n\nimport _ \"github.com/minio/minio-go/v7\"\n", "(an S3 SDK)"},
		{"DNS library below dnsgeo", "dnsgeo/geo/x.go", "package geo\n\nimport _ \"github.com/miekg/dns\"\n", "(a DNS library)"},
		{"mmdb reader outside geo", "dnsgeo/x.go", "package dnsgeo\n\nimport _ \"github.com/oschwald/geoip2-golang/v2\"\n", "(an mmdb reader)"},
		{"NATS outside the bus", "edge/x.go", "package edge\n\nimport _ \"github.com/nats-io/nats-server/v2/server\"\n", "(NATS)"},
		{"PostgreSQL outside the catalogue", "upload/x.go", "package upload\n\nimport _ \"github.com/jackc/pgx/v5\"\n", "(PostgreSQL)"},
		{"gin in the edge", "edge/x.go", "package edge\n\nimport _ \"github.com/gin-gonic/gin\"\n", "(gin)"},
		{"flags in a library", "keys/x.go", "package keys\n\nimport \"flag\"\n\nvar n = flag.Int(\"n\", 1, \"\")\n", "(command-line flags)"},
		{"a longer name is another package", "edge/x.go", "package edge\n\nimport _ \"github.com/nats-iota/x\"\n", ""},

		{"vocabulary opens files", "object/x.go", "package object\n\nimport _ \"os\"\n", "object is pure: os does I/O"},
		{"vocabulary dials", "object/x.go", "package object\n\nimport _ \"net/http/httptest\"\n", "object is pure: net/http/httptest does I/O"},
		{"vocabulary parses URLs", "object/x.go", "package object\n\nimport _ \"net/url\"\n", ""},
		{"vocabulary leaves the library", "object/x.go", "package object\n\nimport _ \"golang.org/x/sync/errgroup\"\n", "standard library only"},
		{"vocabulary imports the module", "object/x.go", "package object\n\nimport _ \"perigee/clock\"\n", "standard library only"},

		{"cycle", "object/x_cycle.go", "package object\n\nimport _ \"perigee/keys\"\n", "import cycle: keys -> object -> keys"},
		{"empty name by folder", "edge/helpers/x.go", "// Package assist assists.\npackage assist\n", "named helpers says nothing"},
		{"empty name by clause", "edge/assist/x.go", "// Package util assists.\npackage util\n", "says nothing"},
		{"no package comment", "geoid/x.go", "package geoid\n", "geoid: no package comment"},
		{"two package comments", "keys/x.go", "// Package keys again.\npackage keys\n", "more than one package comment: keys/keys.go, keys/x.go"},
		{"comment of another name", "geoid/x.go", "// Geoid is round.\npackage geoid\n", "must begin with \"Package geoid\""},
		{"only tests need no comment", "e2e/x_test.go", "package e2e\n", ""},

		{"function without a comment", "keys/x.go", "package keys\n\nfunc Open() {}\n", "keys/x.go:3: Open has no comment"},
		{"type without a comment", "keys/x.go", "package keys\n\ntype Ring[T any] struct{}\n", "Ring has no comment"},
		{"constant without a comment", "keys/x.go", "package keys\n\nconst (\n\tA = 1 // one\n\tB = 2\n)\n", "keys/x.go:5: B has no comment"},
		{"method without a comment", "keys/x.go", "package keys\n\n// Ring is round.\ntype Ring[T any] struct{}\n\nfunc (*Ring[T]) Open() {}\n", "Open has no comment"},
		{"method of an unexported type", "keys/x.go", "package keys\n\ntype ring struct{}\n\nfunc (*ring) Open() {}\n", ""},
		{"one comment for a group", "keys/x.go", "package keys\n\n// Answers.\nconst (\n\tA = 1\n\tB = 2\n)\n", ""},

		{"init", "keys/x.go", "package keys\n\nfunc init() {}\n", "keys/x.go:3: func init"},
		{"a method may be called init", "keys/x.go", "package keys\n\ntype t int\n\nfunc (t) init() {}\n", ""},
		{"asks the machine's clock", "keys/x.go", "package keys\n\nimport \"time\"\n\nvar _ = time.Now()\n", "keys/x.go:5: time.Now: ask the clock.Clock"},
		{"under another name", "keys/x.go", "package keys\n\nimport t \"time\"\n\nvar _ = t.NewTicker\n", "time.NewTicker: ask"},
		{"under no name", "keys/x.go", "package keys\n\nimport . \"time\"\n\nvar _ = Now()\n", "dot import of time"},
		{"measures with the machine's clock", "keys/x.go", "package keys\n\nimport \"time\"\n\nvar _ = time.Since\n", "time.Since: ask"},
		{"only names a duration", "keys/x.go", "package keys\n\nimport \"time\"\n\nconst d = time.Second\n", ""},

		{"a suite waits", "keys/keystest/x.go", "// Package keystest tests.\npackage keystest\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc f(*testing.T) { time.Sleep(1) }\n", ""},
		{"code imports a suite", "keys/x.go", "package keys\n\nimport _ \"net/http/httptest\"\n", "net/http/httptest is for tests"},
		{"code imports testing", "keys/x.go", "package keys\n\nimport _ \"testing/fstest\"\n", "testing/fstest is for tests"},
		{"a test imports a suite", "keys/x_test.go", "package keys\n\nimport _ \"net/http/httptest\"\n", ""},

		{"long file", "keys/x.go", "package keys\n" + long, "keys/x.go has 501 lines, at most 400"},
		{"long function", "keys/x.go", "package keys\n\nfunc f() {" + long[:80] + "}\n", "keys/x.go:3: keys/x.go:f has 81 lines, at most 80"},
		{"longest function", "keys/x.go", "package keys\n\nfunc f() {" + long[:79] + "}\n", ""},
		{"long test", "keys/x_test.go", "package keys\n" + long, ""},
		{"long generated file", "keys/x.go", "// Code generated by geo build. DO NOT EDIT.\n\npackage keys\n" + long, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := house.check(sources(tidy, c.file, c.text))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == "" && len(found) > 0:
				t.Errorf("found %q in a module without a breach", found)
			case c.want != "" && !strings.Contains(strings.Join(found, "\n"), c.want):
				t.Errorf("found %q, want one with %q", found, c.want)
			}
		})
	}
}

func TestExceptionsFromSizeLimits(t *testing.T) {
	long := "package keys\n" + strings.Repeat("\n", 500)
	r := house
	r.exceptions = map[string]string{"keys/x.go": "a table that reads best in one piece"}
	if found, err := r.check(sources(tidy, "keys/x.go", long)); err != nil || len(found) > 0 {
		t.Errorf("a file with an exception: found %q, error %v", found, err)
	}
	found, err := r.check(sources(tidy, "keys/x.go", "package keys\n"))
	if err != nil || len(found) != 1 || !strings.Contains(found[0], "no longer needed") {
		t.Errorf("an exception that outlived its file: found %q, error %v", found, err)
	}
}

func TestUnreadableModuleIsAnError(t *testing.T) {
	if _, err := house.check(sources(nil, "keys/x.go", "not Go")); err == nil {
		t.Error("a file that is not Go was passed over")
	}
	if _, err := house.check(sources(nil, "readme.md", "no Go")); err == nil {
		t.Error("a module without Go files was found tidy")
	}
}

func sources(base map[string]string, file, text string) fstest.MapFS {
	all := maps.Clone(base)
	if all == nil {
		all = map[string]string{}
	}
	all[file] = text
	files := fstest.MapFS{}
	for p, s := range all {
		files[p] = &fstest.MapFile{Data: []byte(s)}
	}
	return files
}
