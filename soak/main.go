// Command soak is the long proofs of the edge's engine and of publishing. Each run is one piece of some minutes, with a seed that makes its choices; its result is a line in
// docs/proofs, with the commit that it is true of.
//
//	soak crash    kill -9 at a random moment under load, start again, check every byte against the origin
//	soak damage   flip bits and cut segment files at random places, while stopped and while serving
//	soak objects  some million small objects in one engine: memory, look-up, restart, purge of all
//	soak catalogue  ten million rows, on SQLite and PostgreSQL: list, look-up and upload beside a small catalogue
//	soak uploads  real tus clients upload while API, storage, database, bus, edge, lines, disks and clients fail; then catalogue, bucket and edge are compared
//
// A wrong byte ends a run at once, with the seed and what was being done. Requests that fail because the edge was killed, or because a file was cut
// under them, are not wrong: a broken transfer says that it is broken.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	perigee, out string
	seed         uint64
	cycles       int
	objects      int
	rows, times  int
	clients      int
	megabytes    int
	slow         time.Duration
	database     string
	keep         bool
	within       time.Duration
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.perigee, "perigee", "bin/perigee", "the binary to prove")
	flag.StringVar(&o.out, "out", "docs/proofs", "directory of the results")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "of the random choices")
	flag.IntVar(&o.cycles, "cycles", 50, "of crash, damage and uploads")
	flag.IntVar(&o.objects, "objects", 5_000_000, "of objects")
	flag.IntVar(&o.rows, "rows", 10_000_000, "of catalogue: rows of files and versions together")
	flag.IntVar(&o.times, "times", 3000, "how often catalogue measures each thing")
	flag.IntVar(&o.clients, "clients", 1000, "of herd")
	flag.IntVar(&o.megabytes, "megabytes", 100, "of herd's object")
	flag.DurationVar(&o.slow, "slow", 30*time.Second, "how long herd's slow readers are slow")
	flag.StringVar(&o.database, "database", "both", "of uploads' catalogue: sqlite, postgres or both, half of the cycles each")
	flag.BoolVar(&o.keep, "keep", false, "after a failure uploads leaves its files where they are")
	flag.DurationVar(&o.within, "for", 0, "after how long uploads begins no more cycles; 0 is when there were all")
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
		flag.CommandLine.Parse(os.Args[2:])
	}
	proof, ok := map[string]func(options) (string, error){
		"crash": crash, "damage": damage, "objects": objects, "herd": herd, "uploads": uploads, "catalogue": catalogue,
	}[name]
	if !ok {
		log.Fatal("usage: soak crash|damage|objects|herd|uploads|catalogue [-seed N] [-cycles N] [-objects N] [-clients N] [-rows N]")
	}
	log.Printf("soak %s, seed %d", name, o.seed)
	result, err := proof(o)
	if err != nil {
		log.Fatalf("FAILED with seed %d: %v", o.seed, err)
	}
	log.Print(result)
	if err := o.record(name, result); err != nil {
		log.Fatal(err)
	}
}

// record appends a result to the proof's page.
func (o options) record(name, result string) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	path := filepath.Join(o.out, name+".md")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		head := fmt.Sprintf("# make soak NAME=%s\n\n| date | commit | seed | result |\n|---|---|---:|---|\n", name)
		if err := os.WriteFile(path, []byte(head), 0o644); err != nil {
			return err
		}
	}
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "| %s | %s | %d | %s |\n", time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)), o.seed, result)
	return errors.Join(err, f.Close())
}

func (o options) random() *rand.Rand { return rand.New(rand.NewPCG(o.seed, 1)) }
