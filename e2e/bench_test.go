package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// quantiles reports a set of durations as p50, p99 and the largest, in milliseconds.
func quantiles(b *testing.B, what string, d []time.Duration) {
	slices.Sort(d)
	at := func(q float64) float64 { return float64(d[int(q*float64(len(d)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), what+"-p50-ms")
	b.ReportMetric(at(0.99), what+"-p99-ms")
	b.ReportMetric(at(1), what+"-max-ms")
}

// BenchmarkOverwriteEffective measures how long an overwrite takes from its 201 to being what all three edges serve: once as the
// proof says (from the durable append to the last edge's report), once from outside, by asking every edge again and again from
// the moment the answer to the upload was read.
func BenchmarkOverwriteEffective(b *testing.B) {
	s := up(b)
	u, _ := put(b, s, "/bench.txt", []byte("0"), "?wait=10s")
	for _, addr := range s.Edges {
		fetchOK(b, addr, u.URL)
	}
	var proof, outside, request []time.Duration
	for i := 1; b.Loop(); i++ {
		body := fmt.Sprint(i)
		began := time.Now()
		v, _ := put(b, s, "/bench.txt", []byte(body), "")
		answered := time.Now()
		request = append(request, answered.Sub(began))
		for _, addr := range s.Edges {
			for string(fetchOK(b, addr, u.URL).Body) != body {
			}
		}
		outside = append(outside, time.Since(answered))
		proof = append(proof, proven(b, s, v.ID))
	}
	quantiles(b, "proof", proof)
	quantiles(b, "outside", outside)
	quantiles(b, "upload", request)
}

// proven waits for the proof of a change and returns the time of the last edge.
func proven(b *testing.B, s *System, id string) time.Duration {
	b.Helper()
	for {
		a, err := Fetch(within(b, long), s.API, s.URL("/api/v1/purges/"+id))
		var p struct {
			Effective bool
			Edges     []struct{ MS *float64 }
		}
		if err != nil || json.Unmarshal(a.Body, &p) != nil {
			b.Fatalf("%s %v", a.Body, err)
		}
		if !p.Effective {
			continue
		}
		last := 0.0
		for _, e := range p.Edges {
			if e.MS != nil {
				last = max(last, *e.MS)
			}
		}
		return time.Duration(last * float64(time.Millisecond))
	}
}

// BenchmarkDeleteEffective is the same for a delete: until every edge says 404.
func BenchmarkDeleteEffective(b *testing.B) {
	s := up(b)
	var outside []time.Duration
	for i := 0; b.Loop(); i++ {
		path := fmt.Sprintf("/gone-%d.txt", i)
		u, _ := put(b, s, path, []byte("x"), "?wait=10s")
		for _, addr := range s.Edges {
			fetchOK(b, addr, u.URL)
		}
		req, err := http.NewRequest(http.MethodDelete, s.URL("/api/v1/sites/www/files"+path), nil)
		if err != nil {
			b.Fatal(err)
		}
		if a, err := do(http.DefaultClient, req); err != nil || a.Status/100 != 2 {
			b.Fatalf("%d %v", a.Status, err)
		}
		answered := time.Now()
		for _, addr := range s.Edges {
			for {
				if a, err := Fetch(within(b, long), addr, u.URL); err == nil && a.Status == 404 {
					break
				}
			}
		}
		outside = append(outside, time.Since(answered))
	}
	quantiles(b, "outside", outside)
}
