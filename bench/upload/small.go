package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"sync"
	"time"

	"perigee/bench/program"
)

// smallSample is a round of small uploads by PUT.
type smallSample struct {
	store         string
	rate          float64 // uploads a second
	p50, p99, max time.Duration
	cpu           time.Duration // of perigee up and the store, an upload
}

// smallSize is the size of a small upload, in bytes.
const smallSize = 4 << 10

// smallRound sends small files, each its own content, and notes how long each took.
func (b *bench) smallRound(s *system, round int) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: b.clients}, Timeout: 2 * time.Minute}
	defer client.CloseIdleConnections()
	took, errs := make([]time.Duration, b.small), make([]error, b.small)
	next := make(chan int)
	var all sync.WaitGroup
	for range b.clients {
		all.Go(func() {
			for i := range next {
				began := time.Now()
				errs[i] = putSmall(client, fmt.Sprintf("%s/api/v1/sites/www/files/small/%d/%d", s.api, round, i), round*b.small+i)
				took[i] = time.Since(began)
			}
		})
	}
	before, began := s.cpu(), time.Now()
	for i := range b.small {
		next <- i
	}
	close(next)
	all.Wait()
	lasted := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.Sort(took)
	m := smallSample{
		store: s.store, rate: float64(b.small) / lasted.Seconds(),
		p50: took[len(took)/2], p99: took[len(took)*99/100], max: took[len(took)-1], cpu: (s.cpu() - before) / time.Duration(b.small),
	}
	log.Printf("%s, small: %.0f/s, p50 %v, p99 %v, at most %v; CPU %v each", s.store, m.rate, ms(m.p50), ms(m.p99), ms(m.max), m.cpu.Round(10*time.Microsecond))
	b.smalls = append(b.smalls, m)
	return nil
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

func putSmall(client *http.Client, url string, n int) error {
	body := bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(n >> 16), 7}, smallSize/4)
	req, err := http.NewRequest("PUT", url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return err
}

// cpu is the CPU time of the processes so far.
func (s *system) cpu() time.Duration {
	var sum time.Duration
	for _, pid := range s.processes() {
		sum += program.CPUOf(pid)
	}
	return sum
}
