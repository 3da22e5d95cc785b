package dnsgeo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/durable"
	"perigee/object"
	"perigee/purge"
)

// SitesConfig is what Sites needs.
type SitesConfig struct {
	Zone string
	File string // keeps what is known over restarts; "" keeps nothing
	// List yields every site record in the bucket. An error that wraps object.ErrInvalid is of one record only.
	List  func(context.Context) iter.Seq2[object.SiteRecord, error]
	Clock clock.Clock
	Log   *slog.Logger
}

// Sites knows which names are steered: the hosts of all sites. It learns them from the bucket at the start and from the
// log after that; with neither it answers from its file. It implements purge.Sink.
type Sites struct {
	cfg   SitesConfig
	table *object.SiteTable
	names atomic.Pointer[Names]
	// wanted counts the reasons to read the bucket's list, listed how many of them the last reading answered.
	wanted, listed atomic.Int64

	// publishing makes one change after the other visible: Run and Apply learn side by side, and the names of the
	// one that looked first must not replace those of the one that looked last.
	publishing sync.Mutex

	mu       sync.Mutex
	position purge.Position
}

// savedSites is the file.
type savedSites struct {
	Position purge.Position       `json:"position,omitzero"`
	Sites    []*object.SiteRecord `json:"sites"`
}

// NewSites returns what the file knows. A file that cannot be read is as good as none.
func NewSites(cfg SitesConfig) *Sites {
	s := &Sites{cfg: cfg, table: object.NewSiteTable()}
	if err := s.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		cfg.Log.Warn("the last known sites are lost", "err", err)
	}
	s.compile()
	s.wanted.Store(1)
	return s
}

// Names returns the steered names of this moment.
func (s *Sites) Names() *Names { return s.names.Load() }

// Known reports whether the sites are known: from the bucket, or from before.
func (s *Sites) Known() bool { return s.listed.Load() > 0 || s.names.Load().Len() > 0 }

// Position returns how far the log was followed.
func (s *Sites) Position() purge.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position
}

// publish puts what the table holds into use and keeps it.
func (s *Sites) publish() {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.compile()
	s.save()
}

func (s *Sites) compile() {
	var hosts []string
	for _, h := range s.table.Hosts() {
		hosts = append(hosts, string(h))
	}
	s.names.Store(NewNames(s.cfg.Zone, hosts))
}

// Run reads the bucket's records until that has worked once, and again after a break in the log. It ends with ctx.
func (s *Sites) Run(ctx context.Context) error {
	t := s.cfg.Clock.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for failed := false; ; {
		if s.listed.Load() < s.wanted.Load() {
			err := s.list(ctx)
			if err != nil && !failed && ctx.Err() == nil {
				s.cfg.Log.Warn("the sites cannot be read from the bucket yet; trying on", "err", err)
			}
			failed = err != nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

func (s *Sites) list(ctx context.Context) error {
	want := s.wanted.Load() // a break in the log from here on asks for another reading
	changed := false
	for rec, err := range s.cfg.List(ctx) {
		if errors.Is(err, object.ErrInvalid) {
			s.cfg.Log.Error("a site record in the bucket is damaged and ignored", "err", err)
			continue
		}
		if err != nil {
			return err
		}
		changed = s.table.Learn(&rec) || changed
	}
	s.listed.Store(want)
	if changed {
		s.publish()
	}
	return nil
}

// Apply implements purge.Sink. Entries about files do not concern DNS.
func (s *Sites) Apply(r purge.Record) error {
	s.mu.Lock()
	s.position = r.Position
	s.mu.Unlock()
	if r.Kind == purge.KindRules && s.table.Learn(r.Record) {
		s.publish()
	}
	return nil
}

// Reset implements purge.Sink.
func (s *Sites) Reset(to purge.Position, why error) error {
	s.cfg.Log.Warn("the purge log does not continue from our position; the sites are read anew", "err", why)
	s.mu.Lock()
	s.position = to
	s.mu.Unlock()
	s.wanted.Add(1)
	return nil
}

// Confirm implements purge.Sink. Steered names have no lease: a DNS server that is cut off answers from what it knows.
func (s *Sites) Confirm(time.Time) {}

// save writes the file; without it the next start has to reach the bucket or the log before it knows a name. The
// position in it may be older than the true one: the log is then read again from there, to the same effect.
func (s *Sites) save() {
	if s.cfg.File == "" {
		return
	}
	if err := s.write(); err != nil {
		s.cfg.Log.Warn("the sites cannot be kept for the next start", "err", err)
	}
}

func (s *Sites) write() error {
	b, err := json.Marshal(savedSites{s.Position(), s.table.Records()})
	if err != nil {
		return err
	}
	return durable.ReplaceBytes(s.cfg.File, 0o600, b)
}

func (s *Sites) load() error {
	if s.cfg.File == "" {
		return nil
	}
	b, err := os.ReadFile(s.cfg.File)
	if err != nil {
		return err
	}
	var saved savedSites
	if err := json.Unmarshal(b, &saved); err != nil {
		return fmt.Errorf("read %s: %w", s.cfg.File, err)
	}
	for _, r := range saved.Sites {
		if r == nil || r.Validate() != nil {
			return fmt.Errorf("read %s: %w", s.cfg.File, object.ErrInvalid)
		}
	}
	for _, r := range saved.Sites {
		s.table.Learn(r)
	}
	s.position = saved.Position
	return nil
}
