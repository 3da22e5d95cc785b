// Package perigee_test keeps the house as ARCHITECTURE.md §2 draws it. It reads every Go file of the module itself,
// instead of asking the go command, so that the test cache sees each file and no old PASS survives a forbidden import.
package perigee_test

import (
	"os"
	"testing"
)

// house holds the rules that need naming: who is a face, who may import what, which exceptions stand and why.
var house = rules{
	module: "perigee",

	// A face answers the network. Only programs and whole-system tests put faces together.
	faces: map[string]string{
		"upload/...": "upload",
		"edge/...":   "edge",
		"dnsgeo":     "dnsgeo", // dnsgeo/geo and dnsgeo/steer are libraries for any face
		"web/...":    "web",
	},
	programs: []string{"cmd/...", "e2e/...", "bench/...", "soak/...", "scripts/...", "."},

	// Serving never depends on deciding, not even through a package in between.
	independent: []string{"edge/...", "origin/...", "dnsgeo/..."},
	deciding:    []string{"catalog", "database/sql", "modernc.org/sqlite", "github.com/jackc/pgx", "github.com/pressly/goose"},

	restricted: []restriction{
		{what: "an S3 SDK", only: []string{"origin/...", "bench/upload"}, imports: []string{
			"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", "github.com/minio/minio-go", "github.com/versity/versitygw"}},
		{what: "a DNS library", only: []string{"dnsgeo", "dnsgeo/sign", "e2e/..."}, imports: []string{"github.com/miekg/dns"}},
		{what: "an mmdb reader", only: []string{"dnsgeo/geo", "dnsgeo/geo/geotest", "e2e/...", "bench/dns"}, imports: []string{"github.com/oschwald", "github.com/maxmind"}},
		{what: "PostgreSQL", only: []string{"catalog/...", "e2e/..."}, imports: []string{"github.com/jackc"}},
		{what: "NATS", only: []string{"fleet/bus"}, imports: []string{"github.com/nats-io"}},
		{what: "gin", only: []string{"upload/...", "web/...", "cmd/..."}, imports: []string{"github.com/gin-gonic", "github.com/gin-contrib"}},
		{what: "fiber, which versitygw is built on", only: []string{"origin/embedded"}, imports: []string{"github.com/gofiber"}},
		{what: "command-line flags", only: []string{"cmd/...", "e2e/...", "bench/...", "soak/...", "scripts/..."}, imports: []string{"flag", "github.com/alecthomas/kong"}},
		{what: "a browser driver", only: []string{"web/...", "e2e/..."}, imports: []string{"github.com/chromedp"}},
	},

	// The vocabulary computes; it never opens, dials, waits or logs.
	pure: []string{"object"},
	impure: []string{"os", "os/...", "io/ioutil", "net", "net/http/...", "net/rpc/...", "net/smtp", "syscall", "plugin", "log/...", "database/...",
		"embed", "unsafe"},

	// Only these may read the machine's clock; everyone else is given a clock.Clock.
	timekeepers: []string{"clock", "cmd/...", "e2e/...", "bench/...", "soak/...", "scripts/..."},

	maxFileLines: 400,
	maxFuncLines: 80,
	exceptions:   map[string]string{},
}

func TestArchitecture(t *testing.T) {
	found, err := house.check(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}
