package cache

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

func TestTwoEnginesOnOneDirectory(t *testing.T) {
	r := newRig(t, nil)
	if _, err := Open(r.cfg); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	data := cachetest.Bytes(10, 1)
	r.o.Publish("www", "/file", 1, data)
	r.mustGet("/file", data) // the first one is unharmed
	r.restart()
}

func TestOpenThatFailsLeavesNothingOpen(t *testing.T) {
	for what, hurt := range map[string]func(dir string) error{
		"store is a file":        func(dir string) error { return os.WriteFile(filepath.Join(dir, "store"), nil, 0o600) },
		"journal is a directory": func(dir string) error { return os.Mkdir(filepath.Join(dir, "journal"), 0o700) },
		"lock is a directory":    func(dir string) error { return os.Mkdir(filepath.Join(dir, "lock"), 0o700) },
		"unfinished rewrite cannot be removed": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, ".journal-1", "full"), 0o700)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := hurt(dir); err != nil {
				t.Fatal(err)
			}
			e, err := Open(Config{Dir: dir, Size: MinSize, Origin: cachetest.NewOrigin(), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
			if err == nil {
				e.Close()
				t.Error("opened")
			}
			if n := openFiles(t, dir); n != 0 {
				t.Errorf("%d files left open (%v)", n, err)
			}
		})
	}
}

// Close ends what runs, waits for it, and leaves neither goroutines nor files.
func TestCloseDuringFills(t *testing.T) {
	r := newRig(t, nil)
	data := cachetest.Bytes(3*mib, 1)
	never := make(chan struct{})
	var readers []*reader
	for i, at := range []int64{mib + 5, 2 * mib, 2*mib + 1} {
		path := object.Path([]string{"/a", "/b", "/c"}[i])
		d := append([]byte{byte(i)}, data...)
		p := r.o.Publish("www", path, 1, d)
		r.o.Break(p.Blob, cachetest.Fault{Hold: never, At: at})
		readers = append(readers, r.follow(t.Context(), p))
	}
	r.o.Publish("www", "/pointer", 1, data)
	r.o.Break(object.HeadKey("www", "/pointer"), cachetest.Fault{Hold: never})
	asking := make(chan error)
	go func() { _, _, err := r.resolve("/pointer"); asking <- err }()
	r.o.Await(t, object.HeadKey("www", "/pointer"), 1)
	var closing sync.WaitGroup
	for range 3 { // closing twice is allowed
		closing.Go(func() { r.e.Close() })
	}
	closing.Wait()
	if err := <-asking; err == nil {
		t.Error("a pointer from nowhere")
	}
	for _, f := range readers {
		if err := <-f.done; err == nil {
			t.Error("a body from nowhere")
		}
	}
	noGoroutines(t)
	r.o.AwaitClosed(t)
	if n := openFiles(t, r.cfg.Dir); n != 0 {
		t.Errorf("%d files left open", n)
	}
	// Who comes after Close gets an error or bytes, and no goroutine is started.
	if _, _, err := r.resolve("/late"); err == nil {
		t.Error("a pointer from nowhere")
	}
	r.open()
}

func TestEverythingAtOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Size = MinSize; c.RAM = 1 << 20; c.Names = 20 })
	const files = 12
	var data [files][]byte
	path := func(i int) object.Path { return object.Path("/dir/" + string(rune('a'+i))) }
	for i := range files {
		data[i] = cachetest.Bytes(int64(i*i)*30_000+1, uint64(i))
		r.o.Publish("www", path(i), 1, data[i])
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := w; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				k := (i * 5) % files
				if _, err := r.check(path(k), data[k]); err != nil {
					t.Error(err)
				}
				r.e.Explain("www", path(k))
				r.e.Vouched(r.site, path(k), "")
			}
		})
	}
	for n := range 60 {
		for _, e := range []purge.Entry{
			purgeURL(path(n % files)), softly(purge.Entry{Kind: purge.KindPrefix, Prefix: "/dir/"}), {Kind: purge.KindTag, Tag: tag},
			pointerEntry(r.o.Publish("www", path(n%files), 2+n, data[n%files])),
		} {
			r.apply(e)
		}
		r.checkBounds()
		if s := r.e.Stats(); s.Names > 20 {
			t.Errorf("bounds: %+v", s)
		}
	}
	close(stop)
	wg.Wait()
	r.idle()
	r.o.AwaitClosed(t)
	r.checkBounds()
	r.restart()
	r.checkBounds()
}

func TestMoved(t *testing.T) {
	moves := 0
	var e *Engine
	r := newRig(t, func(c *Config) {
		c.Moved = func() {
			moves++
			if e != nil {
				e.Position() // would hang if a lock were held
			}
		}
	})
	e = r.e
	if moves != 1 {
		t.Errorf("%d moves after the first lease", moves)
	}
	r.e.Confirm(r.cfg.Clock.Now())
	r.apply(purgeURL("/file"))
	r.e.Reset(at(0), purge.ErrGap)
	if moves != 3 {
		t.Errorf("%d moves", moves)
	}
}

func TestSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.o.SetDown(errUnplugged)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.e.Run(ctx) }()
		synctest.Wait()
		if _, err := r.e.Site("www.example"); !errors.Is(err, ErrSitesUnknown) || r.e.KnowsSites() {
			t.Fatalf("got %v", err)
		}
		r.o.SetDown(nil)
		r.o.PutSite(r.site)
		r.o.PutSite(cachetest.Site("zoo", "zoo.example", "www.example")) // a host claimed twice
		r.o.Put(object.SiteKey("bad"), []byte("{"))
		r.o.Put(object.SiteKey("liar"), object.MarshalSite(*cachetest.Site("other", "liar.example")))
		time.Sleep(time.Second)
		if s, err := r.e.Site("www.example"); err != nil || s.Site != "www" {
			t.Fatalf("%v, %v", s, err)
		}
		if s, err := r.e.Site("zoo.example"); err != nil || s.Site != "zoo" {
			t.Fatalf("%v, %v", s, err)
		}
		for _, h := range []object.Host{"liar.example", "nobody.example"} {
			if _, err := r.e.Site(h); !errors.Is(err, ErrUnknownSite) {
				t.Errorf("%s: %v", h, err)
			}
		}
		moved := cachetest.Site("www", "new.example")
		moved.Version = cachetest.Version(3)
		r.apply(purge.Entry{Kind: purge.KindRules, Record: moved})
		if s, err := r.e.Site("www.example"); err != nil || s.Site != "zoo" {
			t.Errorf("a host that was given up: %v, %v", s, err)
		}
		r.o.PutSite(r.site) // the bucket lags
		r.e.Reset(at(0), purge.ErrGap)
		time.Sleep(time.Second)
		if s, err := r.e.Site("new.example"); err != nil || s.Version != moved.Version {
			t.Errorf("%+v, %v", s, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.o.SetDown(errUnplugged)
		r.restart() // known from the journal
		if s, err := r.e.Site("new.example"); err != nil || s.Site != "www" || !r.e.KnowsSites() {
			t.Errorf("%v, %v", s, err)
		}
		if _, err := r.e.Site("nobody.example"); !errors.Is(err, ErrSitesUnknown) {
			t.Errorf("%v", err)
		}
	})
}

// A break in the log while the sites were being read used to be forgotten when that reading ended.
func TestResetDuringAListingAsksForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.o.PutSite(r.site)
		release := make(chan struct{})
		key := object.SiteKey("www")
		r.o.Break(key, cachetest.Fault{Hold: release, At: 10, Times: 1})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.e.Run(ctx) }()
		r.o.Await(t, key, 1)
		moved := cachetest.Site("www", "new.example")
		moved.Version = cachetest.Version(1)
		r.o.PutSite(moved)
		if err := r.e.Reset(at(0), purge.ErrGap); err != nil {
			t.Fatal(err)
		}
		close(release)
		time.Sleep(time.Second)
		if s, err := r.e.Site("new.example"); err != nil || s.Version != moved.Version {
			t.Errorf("%+v, %v", s, err)
		}
		time.Sleep(time.Minute)
		if n := r.o.Reads(key); n != 2 {
			t.Errorf("%d readings", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
