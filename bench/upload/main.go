// Command upload measures uploading through Perigee beside multipart uploads that go straight to the same S3, with the parts that Perigee makes and with AWS's
// transfer manager: bytes a second, and the most memory that each process held. Then the time that small uploads take. The system is `perigee up` as
// people start it, once with its own storage and once with MinIO where that is installed. It writes docs/benchmarks/upload.md.
//
// It starts itself as the client, so that the memory of a way to send is that of a process of its own. Ways are interleaved, round by round, and medians
// are taken. The bytes sent repeat after a prime number of them: neither store compresses.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

// options are the flags.
type options struct {
	perigee, out, dir, only string
	rounds, clients, small  int
	size, big               int64 // bytes
}

func main() {
	log.SetFlags(log.Ltime)
	if len(os.Args) == 3 && os.Args[1] == "send" {
		sendAsChild(os.Args[2])
		return
	}
	var o options
	var size, big int64
	flag.StringVar(&o.perigee, "perigee", "bin/perigee", "the binary to measure")
	flag.StringVar(&o.out, "out", "docs/benchmarks", "directory of the report; empty writes none")
	flag.StringVar(&o.dir, "dir", "", "directory for what is stored; default a temporary one, removed at the end")
	flag.StringVar(&o.only, "only", "", "only the store or the measurement of that name (embedded, minio, throughput, small, memory); then no report is written")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of which the median is taken")
	flag.Int64Var(&size, "size", 512, "MiB of one upload of the throughput")
	flag.Int64Var(&big, "big", 2048, "MiB of each upload of the memory; 0 leaves it out")
	flag.IntVar(&o.small, "small", 2000, "small uploads in a round; 0 leaves them out")
	flag.IntVar(&o.clients, "clients", 64, "clients that send them")
	flag.Parse()
	o.size, o.big = size<<20, big<<20
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

func run(o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "bench-upload-")
		if err != nil {
			return err
		}
		o.dir = dir
		defer os.RemoveAll(dir)
	}
	b := &bench{options: o}
	for _, store := range []string{"embedded", "minio"} {
		if store == "minio" && minioBinary() == "" {
			b.left = append(b.left, "MinIO: scripts/install-minio builds it")
			continue
		}
		if o.only == "embedded" && store != o.only || o.only == "minio" && store != o.only {
			continue
		}
		if err := b.store(store); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	text := b.report()
	fmt.Print(text)
	if o.only != "" || o.out == "" {
		return nil
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.out, "upload.md"), []byte(text), 0o644)
}

// bench is a run, with what it has measured.
type bench struct {
	options
	left    []string
	sent    []sample
	smalls  []smallSample
	memory  []peak
	version string
}

// sample is one large upload.
type sample struct {
	store, way string
	rate       float64 // bytes a second
	client     int64   // bytes, the most the client held
	cpu        float64 // seconds of all processes, a GB
}

// peak is the most memory that a process held, in bytes.
type peak struct {
	store, what, process       string
	idle, resident, atLeastOwn int64
	rate                       float64
}

// wants reports whether -only leaves a measurement in.
func (b *bench) wants(what string) bool {
	switch b.only {
	case "throughput", "small", "memory":
		return b.only == what
	}
	return true
}

// store measures everything on one store.
func (b *bench) store(name string) error {
	s, err := startSystem(b.perigee, filepath.Join(b.dir, name), name)
	if err != nil {
		return err
	}
	defer s.stop()
	b.version = s.version
	if b.big > 0 && b.wants("memory") {
		if err := b.memories(s); err != nil {
			return err
		}
	}
	for round := range b.rounds {
		if b.wants("throughput") {
			if err := b.throughput(s, round); err != nil {
				return err
			}
		}
		if b.small > 0 && b.wants("small") {
			if err := b.smallRound(s, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// throughput sends one large file in each way.
func (b *bench) throughput(s *system, round int) error {
	for i := range ways {
		way := ways[(i+round)%len(ways)]
		out, err := s.send(sending{Way: way, Size: b.size, Name: fmt.Sprintf("t%d-%s", round, way)})
		if err != nil {
			return fmt.Errorf("%s: %w", way, err)
		}
		log.Printf("%s, %s: %.0f MB/s, client %d MiB, CPU %.1f s/GB", s.store, way, out.Rate/1e6, out.Peak>>20, out.CPU)
		b.sent = append(b.sent, sample{s.store, way, out.Rate, out.Peak, out.CPU})
	}
	return nil
}

// memories sends one file after another and notes what the processes held while they did.
func (b *bench) memories(s *system) error {
	for _, way := range []string{"tus", "PUT", "form"} {
		idle := s.resetPeaks()
		out, err := s.send(sending{Way: way, Size: b.big, Name: "big-" + way})
		if err != nil {
			return fmt.Errorf("%s: %w", way, err)
		}
		for _, p := range s.peaks() {
			p.what, p.idle, p.rate = way, idle[p.process], out.Rate
			log.Printf("%s, %d MiB by %s, %s: at most %.1f MiB, before it %.1f", s.store, b.big>>20, way, p.process, mib(p.resident), mib(p.idle))
			b.memory = append(b.memory, p)
		}
	}
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
