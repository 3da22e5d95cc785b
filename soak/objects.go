package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"perigee/clock"
	"perigee/edge/cache"
	"perigee/object"
	"perigee/purge"
)

// counting is an origin whose blobs are numbers, written out. It has no pointers: the log tells of every file.
type counting struct{}

func numbered(n int) []byte { return []byte(strings.Repeat(strconv.Itoa(n)+" ", 40)) }

// Get implements cache.Origin.
func (counting) Get(_ context.Context, key object.Key, off, length int64) (io.ReadCloser, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(string(key), "n/"))
	if err != nil {
		return nil, errors.New("the origin has no pointers")
	}
	return io.NopCloser(bytes.NewReader(numbered(n)[off : off+length])), nil
}

// Sites implements cache.Origin.
func (counting) Sites(context.Context) iter.Seq2[object.SiteRecord, error] {
	return func(func(object.SiteRecord, error) bool) {}
}

func filePath(n int) object.Path { return object.Path("/dir/file-" + strconv.Itoa(n)) }

// objects fills one engine with small objects, asks it, starts it again, asks it again and purges all.
func objects(o options) (string, error) {
	dir, err := os.MkdirTemp("", "soak-objects-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	cfg := cache.Config{Dir: dir, Size: 64 << 30, Origin: counting{}, Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
	e, err := cache.Open(cfg)
	if err != nil {
		return "", err
	}
	defer func() { e.Close() }()
	before := heap()
	began := time.Now()
	if err := fill(e, o.objects); err != nil {
		return "", err
	}
	filled := time.Since(began)
	s := e.Stats()
	memory := float64(heap()-before) / float64(o.objects)
	hits, each, err := sample(e, o.objects)
	if err != nil {
		return "", err
	}
	if err := e.Close(); err != nil {
		return "", err
	}
	began = time.Now()
	if e, err = cache.Open(cfg); err != nil {
		return "", err
	}
	opened := time.Since(began)
	e.Confirm(time.Now())
	again, eachAgain, err := sample(e, o.objects)
	if err != nil {
		return "", err
	}
	began = time.Now()
	if err := e.Apply(entry(uint64(o.objects)+1, purge.Entry{Kind: purge.KindSite})); err != nil {
		return "", err
	}
	purged := time.Since(began)
	if left, _, err := sample(e, o.objects); err != nil || left > 0 {
		return "", fmt.Errorf("%.1f %% are still served after a purge of all (%v)", 100*left, err)
	}
	return fmt.Sprintf("%d objects, %d index entries of %.1f B; %.1f B of heap an object; filled at %.0f a second; %.1f %% hits at %v each; opened again in %v; %.1f %% hits at %v each; purge of all in %v, and nothing was served after it",
		o.objects, s.Store.Entries, float64(s.Store.IndexBytes)/float64(s.Store.Entries), memory, float64(o.objects)/filled.Seconds(), 100*hits, each, opened.Round(time.Millisecond),
		100*again, eachAgain, purged), nil
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

var published = time.Unix(1_700_000_000, 0).UTC()

func entry(seq uint64, e purge.Entry) purge.Record {
	e.Format, e.ID, e.Site, e.At = 1, strconv.FormatUint(seq, 10), "www", published
	return purge.Record{Entry: e, Position: purge.At("one", purge.Mark{Stream: "s", Seq: seq})}
}

// fill publishes and fetches every object.
func fill(e *cache.Engine, n int) error {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	defer func() { stop(); <-done }()
	for i := range n {
		b := numbered(i)
		h := object.HashOf(b)
		p := &object.Pointer{
			Format: 1, Site: "www", Path: filePath(i), Version: object.NextVersion(published, 0, ""), State: object.Live, Modified: published,
			Hash: h, Root: h, Size: int64(len(b)), Blob: object.Key("n/" + strconv.Itoa(i)), ContentType: "text/plain",
		}
		if err := e.Apply(entry(uint64(i)+1, purge.Entry{Kind: purge.KindPointer, Pointer: p})); err != nil {
			return err
		}
		body, _, err := e.Locate(context.Background(), p, object.Range{Length: p.Size})
		if err != nil {
			return err
		}
		body.Close()
	}
	e.Confirm(time.Now())
	return nil
}

// sample asks for some of the objects, checks them, and returns the share of hits and the time for each.
func sample(e *cache.Engine, n int) (hits float64, each time.Duration, err error) {
	site := &object.SiteRecord{Format: 1, Site: "www", Kind: object.Published}
	began, asked, held := time.Now(), 0, 0
	for i := 0; i < n; i += n/50_000 + 1 {
		asked++
		p, name, err := e.Resolve(context.Background(), site, filePath(i), "")
		if err != nil || !name.Hit() {
			continue
		}
		body, outcome, err := e.Locate(context.Background(), p, object.Range{Length: p.Size})
		if err != nil {
			return 0, 0, err
		}
		var got bytes.Buffer
		_, err = body.Copy(context.Background(), &got)
		body.Close()
		if err != nil || !bytes.Equal(got.Bytes(), numbered(i)) {
			return 0, 0, fmt.Errorf("object %d: wrong bytes (%v)", i, err)
		}
		if outcome.Hit() {
			held++
		}
	}
	return float64(held) / float64(asked), time.Since(began) / time.Duration(asked), nil
}
