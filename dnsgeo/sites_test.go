package dnsgeo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/purge"
)

// siteRecord is a site that answers to hosts.
func siteRecord(name string, n int, hosts ...object.Host) object.SiteRecord {
	return object.SiteRecord{Format: 1, Site: object.Site(name), Kind: object.Published, Hosts: hosts,
		Version: object.NextVersion(time.Unix(1_700_000_000+int64(n), 0), 1, "")}
}

// bucket lists records, or fails.
type bucket struct {
	mu      sync.Mutex
	records []object.SiteRecord
	err     error
}

func (b *bucket) set(err error, records ...object.SiteRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.records = err, records
}

func (b *bucket) list(context.Context) iter.Seq2[object.SiteRecord, error] {
	return func(yield func(object.SiteRecord, error) bool) {
		b.mu.Lock()
		records, err := b.records, b.err
		b.mu.Unlock()
		if err != nil && !yield(object.SiteRecord{}, err) {
			return
		}
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (b *bucket) config(file string) SitesConfig {
	return SitesConfig{Zone: "perigee.test", File: file, List: b.list, Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
}

func rules(r object.SiteRecord, seq uint64) purge.Record {
	return purge.Record{Entry: purge.Entry{Format: 1, ID: fmt.Sprint(seq), Kind: purge.KindRules, Site: r.Site, Record: &r},
		Position: purge.At("home", purge.Mark{Stream: "s", Seq: seq})}
}

func (s *Sites) steers(name string) bool {
	steered, _ := s.Names().find(name)
	return steered
}

func TestSitesLearnAndRemember(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sites.json")
	var b bucket
	b.set(errors.New("out of reach"))
	s := NewSites(b.config(file))
	if err := s.list(t.Context()); err == nil || s.Known() {
		t.Errorf("the bucket is out of reach: %v, known %v", err, s.Known())
	}
	b.set(fmt.Errorf("one record: %w", object.ErrInvalid), siteRecord("www", 1, "www.perigee.test"))
	if err := s.list(t.Context()); err != nil || !s.Known() || !s.steers("www.perigee.test.") {
		t.Errorf("after the bucket was read: %v, known %v", err, s.Known())
	}
	if err := s.Apply(rules(siteRecord("www", 2, "new.perigee.test", "else.example.com"), 7)); err != nil {
		t.Fatal(err)
	}
	if s.steers("www.perigee.test.") || !s.steers("new.perigee.test.") {
		t.Error("the entry of the log is not in use")
	}
	if err := s.Apply(rules(siteRecord("www", 1, "old.perigee.test"), 8)); err != nil || s.steers("old.perigee.test.") {
		t.Errorf("an older record replaced a newer one (%v)", err)
	}

	// With neither bucket nor log, the next start knows what this one knew.
	b.set(errors.New("out of reach"))
	again := NewSites(b.config(file))
	if mark, _ := again.Position().Mark("home"); !again.Known() || !again.steers("new.perigee.test.") || mark.Seq != 7 {
		t.Errorf("after a restart: known %v, position %+v", again.Known(), mark)
	}
	if err := os.WriteFile(file, []byte(`{"sites":[{"format":9}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if NewSites(b.config(file)).Known() {
		t.Error("a damaged file is believed")
	}
}

// TestSitesLearnSideBySide: the bucket's listing and the log's entries arrive at once, and none is lost.
func TestSitesLearnSideBySide(t *testing.T) {
	var b bucket
	s := NewSites(b.config(filepath.Join(t.TempDir(), "sites.json")))
	const sites = 40
	var wg sync.WaitGroup
	for i := range sites {
		wg.Go(func() {
			name := fmt.Sprintf("s%d", i)
			if err := s.Apply(rules(siteRecord(name, i, object.Host(name+".perigee.test")), uint64(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.Names().Len(); n != sites {
		t.Errorf("%d names are steered, want %d", n, sites)
	}
}
