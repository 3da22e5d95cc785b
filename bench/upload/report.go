package main

import (
	"fmt"
	"strings"
	"time"

	"perigee/bench/figures"
)

// report words what was measured.
func (b *bench) report() string {
	var t strings.Builder
	fmt.Fprintf(&t, "# Uploads beside multipart uploads to the same S3\n\nWritten by `make bench` on %s. Machine: %s. %s, started as `perigee up`; the store and the client are processes of their own on the same machine.\n\n",
		figures.Today(), figures.Machine(), b.version)
	for _, l := range b.left {
		fmt.Fprintf(&t, "- left out: %s\n", l)
	}
	b.reportThroughput(&t)
	b.reportMemory(&t)
	b.reportSmall(&t)
	t.WriteString("\nThe command: `make bench-upload`; a 12 GB upload of each kind is `make bench-upload BENCH_UPLOAD=\"-only memory -big 12000\"`.\n")
	return t.String()
}

func (b *bench) reportThroughput(t *strings.Builder) {
	if len(b.sent) == 0 {
		return
	}
	fmt.Fprintf(t, `## Throughput

One file of %d MiB, by one client; %d rounds, interleaved, medians, and the slowest and fastest round. *direct* sends parts of 8 MiB, three at a time, straight to the bucket, with aws-sdk-go-v2 as it
comes; *transfermanager* is that SDK's library, with the same part size and concurrency; *own writer* is what Perigee's pipeline ends in. × is in terms of *direct*. Through Perigee the bytes cross one
more socket and are hashed twice (the file, its chunks) before they are published. CPU is that of all processes together: client, Perigee and the store.

| store | way | MB/s | from | to | × | CPU s/GB | client's memory MiB |
|---|---|---:|---:|---:|---:|---:|---:|
`, b.size>>20, b.rounds)
	for _, store := range stores(b.sent) {
		base := b.rateOf(store, direct)
		for _, way := range ways {
			var rates, held, cpu []float64
			for _, s := range b.sent {
				if s.store == store && s.way == way {
					rates, held = append(rates, s.rate/1e6), append(held, mib(s.client))
					cpu = append(cpu, s.cpu)
				}
			}
			m := figures.Median(rates)
			low, high := m, m
			for _, r := range rates {
				low, high = min(low, r), max(high, r)
			}
			fmt.Fprintf(t, "| %s | %s | %.0f | %.0f | %.0f | %.2f | %.1f | %.0f |\n", store, way, m, low, high, m*1e6/base, figures.Median(cpu), figures.Median(held))
		}
	}
}

func stores(all []sample) (names []string) {
	for _, s := range all {
		if len(names) == 0 || names[len(names)-1] != s.store {
			names = append(names, s.store)
		}
	}
	return names
}

func (b *bench) rateOf(store, way string) float64 {
	var rates []float64
	for _, s := range b.sent {
		if s.store == store && s.way == way {
			rates = append(rates, s.rate)
		}
	}
	return figures.Median(rates)
}

func (b *bench) reportMemory(t *strings.Builder) {
	if len(b.memory) == 0 {
		return
	}
	fmt.Fprintf(t, `
## Memory

One file of %d MiB after the other. *before* and *peak* are what was resident of the process (VmRSS before, VmHWM after), the pages of the binary that it has touched
included; *own* is what was anonymous at the end. `+"`perigee up`"+` is API, console, DNS, bus and three edges in one process.

| store | upload | process | before MiB | peak MiB | own MiB | MB/s |
|---|---|---|---:|---:|---:|---:|
`, b.big>>20)
	for _, p := range b.memory {
		fmt.Fprintf(t, "| %s | %s | %s | %.0f | %.0f | %.0f | %.0f |\n", p.store, p.what, p.process, mib(p.idle), mib(p.resident), mib(p.atLeastOwn), p.rate/1e6)
	}
}

func (b *bench) reportSmall(t *strings.Builder) {
	if len(b.smalls) == 0 {
		return
	}
	fmt.Fprintf(t, `
## Small uploads

%d files of %d KiB by PUT from %d clients, each durable in bucket, catalogue and log before it is answered; %d rounds, medians. CPU is that of `+"`perigee up`"+` and the store.

| store | uploads/s | p50 ms | p99 ms | slowest ms | CPU ms/upload |
|---|---:|---:|---:|---:|---:|
`, b.small, smallSize>>10, b.clients, b.rounds)
	for _, store := range []string{"embedded", "minio"} {
		var of []smallSample
		for _, s := range b.smalls {
			if s.store == store {
				of = append(of, s)
			}
		}
		if len(of) == 0 {
			continue
		}
		median := func(f func(smallSample) time.Duration) float64 {
			var v []float64
			for _, s := range of {
				v = append(v, f(s).Seconds()*1000)
			}
			return figures.Median(v)
		}
		var rates []float64
		for _, s := range of {
			rates = append(rates, s.rate)
		}
		fmt.Fprintf(t, "| %s | %.0f | %.0f | %.0f | %.0f | %.2f |\n", store, figures.Median(rates), median(func(s smallSample) time.Duration { return s.p50 }),
			median(func(s smallSample) time.Duration { return s.p99 }), median(func(s smallSample) time.Duration { return s.max }),
			median(func(s smallSample) time.Duration { return s.cpu }))
	}
}
