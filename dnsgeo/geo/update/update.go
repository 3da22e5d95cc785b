package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/geo"
)

// Config says what is kept up to date, and from where.
type Config struct {
	Sources []Source // of the files that make up one DB, in the order in which geo.Open gets them
	Holder  *geo.Holder
	// Every is how often the sources are asked: up to a tenth later, lest everybody asks at once. After a failure it is sooner.
	Every time.Duration
	// MaxSize limits a download, what is unpacked from it, and the file, each in bytes.
	MaxSize int64
	// Account and LicenseKey are sent by Basic authentication, over TLS or on this machine only.
	Account, LicenseKey string
	// Checksum is the URL of the MD5 or SHA-256 that is published for a download, packed or not, in which {url} stands for its URL; "" for none.
	Checksum string
	// Transport carries the requests. It is up to it to refuse addresses outside the public Internet, also those that redirects lead to.
	Transport http.RoundTripper
	Clock     clock.Clock
	Log       *slog.Logger
}

// Result is what a run did.
type Result string

// The results.
const (
	Updated   Result = "updated"   // new data is in use
	Unchanged Result = "unchanged" // the sources have nothing newer
	Failed    Result = "failed"    // nothing was changed, and the error says why
)

// Counters count the runs since the start. Each is safe to read at any time.
type Counters struct {
	Updated, Unchanged, Failed atomic.Uint64
	// Succeeded is when a run last did not fail, in seconds since 1970; 0 when none has.
	Succeeded atomic.Int64
}

// Updater keeps files up to date. It is safe for concurrent use.
type Updater struct {
	Config
	targets []target
	client  *http.Client
	count   Counters
	one     sync.Mutex // one run at a time
}

// New returns an Updater. It reads no file and asks nobody.
func New(c Config) (*Updater, error) {
	if len(c.Sources) == 0 {
		return nil, errors.New("geo update: no source was named")
	}
	if c.MaxSize <= 0 || c.Every <= 0 {
		return nil, errors.New("geo update: max_size and every must be more than 0")
	}
	u := &Updater{Config: c, client: &http.Client{Transport: c.Transport, CheckRedirect: redirect}}
	for _, s := range c.Sources {
		t, err := parse(s)
		if err != nil {
			return nil, err
		}
		if t.edition && (c.Account == "" || c.LicenseKey == "") {
			return nil, fmt.Errorf("geo update from %s: MaxMind asks for credentials; set account and license_key", s.URL)
		}
		if t.insecure && c.Account != "" {
			return nil, fmt.Errorf("geo update from %s: account and license_key are not sent in the clear; use https", shown(&t))
		}
		u.targets = append(u.targets, t)
	}
	return u, nil
}

// Counters returns the counters.
func (u *Updater) Counters() *Counters { return &u.count }

const (
	// firstRetry is the wait after a failure; it doubles each time, up to Every.
	firstRetry = 5 * time.Minute
	// startSpread keeps many servers that start at once from asking at once.
	startSpread = 20 * time.Second
)

// Run asks the sources until ctx ends: at once if it is Every since they were last asked with success, also before the start.
func (u *Updater) Run(ctx context.Context) {
	wait := u.due() + rand.N(min(u.Every/10, startSpread)+1)
	retry := firstRetry
	for {
		t := u.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C():
		}
		wait = u.Every + rand.N(u.Every/10+1)
		switch result, err := u.Once(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = min(retry, u.Every)
			wait += rand.N(wait/10 + 1)
			retry = min(2*retry, u.Every)
			u.Log.Error("geo data was not updated; what is in use stays", "err", err, "again_in", wait)
		default:
			retry = firstRetry
			u.Log.Info("geo data was looked after", "result", result, "source", u.Holder.Current().Passport().Source)
		}
	}
}

// due returns how long the sources need not be asked yet.
func (u *Updater) due() time.Duration {
	var oldest time.Time
	for i, t := range u.targets {
		s, err := loadState(t.File)
		if _, missing := os.Stat(t.File); missing != nil {
			return 0
		}
		if err != nil || s.Checked.After(u.Clock.Now()) {
			return 0
		}
		if i == 0 || s.Checked.Before(oldest) {
			oldest = s.Checked
		}
	}
	return max(0, u.Every-u.Clock.Now().Sub(oldest))
}

// Once asks every source, and puts what is newer into place and into use. On an error nothing has changed.
func (u *Updater) Once(ctx context.Context) (Result, error) {
	u.one.Lock()
	defer u.one.Unlock()
	result, err := u.run(ctx)
	if err != nil {
		u.count.Failed.Add(1)
		return Failed, err
	}
	if result == Updated {
		u.count.Updated.Add(1)
	} else {
		u.count.Unchanged.Add(1)
	}
	u.count.Succeeded.Store(u.Clock.Now().Unix())
	return result, nil
}

// piece is one file of a run.
type piece struct {
	t     *target
	state state
	file  string // that holds the new content; "" when the old one stays
}

func (u *Updater) run(ctx context.Context) (Result, error) {
	defer u.client.CloseIdleConnections()
	var pieces []piece
	defer func() {
		for _, p := range pieces {
			if p.file != "" {
				os.RemoveAll(filepath.Dir(p.file))
			}
		}
	}()
	set, fresh := make([]string, len(u.targets)), false
	for i := range u.targets {
		p, err := u.piece(ctx, &u.targets[i])
		pieces = append(pieces, p)
		if err != nil {
			return Failed, fmt.Errorf("update %s from %s: %w", p.t.File, shown(p.t), err)
		}
		set[i] = p.t.File
		if p.file != "" {
			set[i], fresh = p.file, true
		}
	}
	if !fresh {
		u.remember(pieces)
		return Unchanged, nil
	}
	db, err := u.check(set)
	if err != nil {
		return Failed, err
	}
	for _, p := range pieces {
		if p.file != "" {
			if err := install(p.file, p.t.File); err != nil {
				return Failed, fmt.Errorf("put %s in place: %w", p.t.File, err)
			}
		}
	}
	u.Holder.Use(db)
	u.remember(pieces)
	return Updated, nil
}

// check checks a set of files in every way there is.
func (u *Updater) check(set []string) (*geo.DB, error) {
	for i, file := range set {
		if file == u.targets[i].File {
			continue
		}
		if err := geo.Verify(file); err != nil {
			return nil, fmt.Errorf("what %s sent is no geo data: %w", shown(&u.targets[i]), err)
		}
	}
	id, err := geo.Identity(set...)
	if err != nil {
		return nil, err
	}
	verdict, err := geo.ReadVerdict(u.targets[0].File)
	if err != nil {
		return nil, err
	}
	if id == verdict.Reject {
		return nil, errors.New("the newest data is what was rolled back; it will be tried again when there is a newer one, or use `perigee geo update --force`")
	}
	return u.Holder.Check(set...)
}

// piece asks one source. What is newer is written to a file of the same name in a directory of its own beside the target.
func (u *Updater) piece(ctx context.Context, t *target) (piece, error) {
	p := piece{t: t}
	known, err := readState(t.File)
	if err != nil {
		return p, err
	}
	u.sweep(t)
	dir, err := os.MkdirTemp(filepath.Dir(t.File), tempPrefix(t.File)+"*")
	if err != nil {
		return p, err
	}
	p.file = filepath.Join(dir, filepath.Base(t.File))
	f, err := os.OpenFile(p.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return p, err
	}
	have := newSums()
	got, err := u.fetch(ctx, t, known, &both{f, have})
	if err == nil && !got.unchanged {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return p, err
	}
	p.state = state{URL: got.url, ETag: got.etag, LastModified: got.lastModified, SHA256: have.sha256(), MD5: have.md5(), Checked: u.Clock.Now().UTC()}
	if got.unchanged || known.MD5 == p.state.MD5 {
		os.RemoveAll(dir)
		p.file = ""
	}
	if got.unchanged {
		checked := p.state.Checked
		p.state = known
		p.state.Checked = checked
	}
	return p, nil
}

// remember notes what the sources said, for the next run.
func (u *Updater) remember(pieces []piece) {
	for _, p := range pieces {
		if err := p.state.write(p.t.File); err != nil {
			u.Log.Warn("what was fetched cannot be noted; it will be fetched again", "file", p.t.File, "err", err)
		}
	}
}

// tempPrefix is how the names of directories for new files begin.
func tempPrefix(file string) string { return "." + filepath.Base(file) + ".new-" }

// staleAfter is how old what an unfinished run has left must be to be certainly nobody's.
const staleAfter = 2 * fetchTimeout

// sweep removes what a process that died has left.
func (u *Updater) sweep(t *target) {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(t.File), tempPrefix(t.File)+"*"))
	for _, dir := range left {
		if info, serr := os.Stat(dir); serr == nil && u.Clock.Now().Sub(info.ModTime()) > staleAfter {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err != nil {
		u.Log.Warn("the rest of an earlier geo update cannot be removed", "err", err)
	}
}

// shown is a source as it may be shown: the query of a URL can carry a key.
func shown(t *target) string {
	s, _, _ := strings.Cut(t.URL, "?")
	return s
}
