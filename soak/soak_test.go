package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"perigee/catalog/pgserver"
)

// binary returns the program that people run: the one that make test has built, or one built here.
func binary(t *testing.T) string {
	t.Helper()
	if b := os.Getenv("E2E_BINARY"); b != "" {
		return b
	}
	b := filepath.Join(t.TempDir(), "perigee")
	cmd := exec.Command("go", "build", "-o", b, "perigee/cmd/perigee")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return b
}

// The proofs, short; make soak runs them long.
func TestProofs(t *testing.T) {
	for name, proof := range map[string]func(options) (string, error){
		"crash": crash, "damage": damage, "objects": objects, "herd": herd, "uploads": uploads, "catalogue": catalogue,
	} {
		t.Run(name, func(t *testing.T) {
			o := options{seed: 7, cycles: 3, objects: 20_000, clients: 100, megabytes: 8, slow: 2 * time.Second, rows: 20_000, times: 100, rounds: 1, database: "both"}
			_, noPostgres := pgserver.Find()
			if name == "catalogue" {
				if noPostgres != nil {
					t.Skip(noPostgres)
				}
			} else if name != "objects" {
				o.perigee = binary(t)
			}
			if name == "uploads" {
				if _, err := tusLibrary(); err != nil {
					t.Skip(err)
				}
				if o.cycles = 4; noPostgres != nil {
					o.database = "sqlite"
				}
			}
			result, err := proof(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(result)
		})
	}
}
