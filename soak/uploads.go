package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is what is done to the system while clients upload.
type fault struct {
	name string
	// strike does it, and mends it. pause waits for a random time.
	strike func(r *uploadRig, pause func()) error
	// onlyPostgres, onlyDisk: it needs PostgreSQL, or file systems of their own.
	onlyPostgres, onlyDisk bool
}

// killClient is done to a session, and not to the rig.
const killClient = "kill the client"

var faults = []fault{
	{name: killClient},
	{name: "kill the API", strike: kills("upload")},
	{name: "kill the storage", strike: kills("storage")},
	{name: "kill the API and the storage", strike: kills("upload", "storage")},
	{name: "kill the bus", strike: kills("bus")},
	{name: "kill the edge", strike: kills("edge")},
	{name: "kill the database", onlyPostgres: true, strike: func(r *uploadRig, pause func()) error {
		err := r.postgres.Kill()
		pause()
		return errors.Join(err, r.startDatabase())
	}},
	{name: "kill the API and the database", onlyPostgres: true, strike: func(r *uploadRig, pause func()) error {
		err := r.postgres.Kill()
		r.killRole("upload")
		pause()
		return errors.Join(err, r.startDatabase(), r.startRole("upload"))
	}},
	{name: "cut clients from the API", strike: func(r *uploadRig, pause func()) error {
		for range 3 {
			r.clients.cut()
			pause()
		}
		return nil
	}},
	{name: "cut API and edge from the storage", strike: func(r *uploadRig, pause func()) error { return cuts(r.bucket, pause) }},
	{name: "cut the API from the database", onlyPostgres: true, strike: func(r *uploadRig, pause func()) error { return cuts(r.rows, pause) }},
	{name: "fill the storage's disk", onlyDisk: true, strike: func(r *uploadRig, pause func()) error { return fills(r.buckets, pause) }},
	{name: "fill the disk of everything else", onlyDisk: true, strike: func(r *uploadRig, pause func()) error {
		err := fills(r.data, pause)
		if r.postgres != nil {
			err = errors.Join(err, r.mendDatabase())
		}
		return err
	}},
}

// kills kills processes at a time, and starts them again, the last one first.
func kills(roles ...string) func(*uploadRig, func()) error {
	return func(r *uploadRig, pause func()) (err error) {
		for _, role := range roles {
			r.killRole(role)
		}
		pause()
		for _, role := range slices.Backward(roles) {
			err = errors.Join(err, r.startRole(role))
		}
		return err
	}
}

// cuts breaks a line for a while.
func cuts(l *line, pause func()) error {
	l.set(true)
	pause()
	pause()
	l.set(false)
	return nil
}

// fills leaves a disk with little room, and gives it room again.
func fills(d *disk, pause func()) error {
	err := d.fill(1 << 20)
	pause()
	pause()
	return errors.Join(err, d.empty())
}

const (
	// sessionsAtOnce is how many sessions go on at a time. What waits, for a lease to expire, or for a reservation, does not hold up the next fault.
	sessionsAtOnce = 3
	// auditEvery is after how many cycles catalogue, bucket and edge are compared as a whole.
	auditEvery = 50
)

// uploads breaks everything that takes part in uploads, one thing a cycle, while real tus clients upload. Every file that was acknowledged
// must be there with its bytes; every upload that was not must be resumable or gone; and nothing may be left that no version refers to.
// Two databases are run at a time; the first error ends both.
func uploads(o options) (string, error) {
	library, err := tusLibrary()
	if err != nil {
		return "", err
	}
	databases := []string{o.database}
	if o.database == "both" {
		databases = []string{"sqlite", "postgres"}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var all sync.WaitGroup
	results, errs := make([]string, len(databases)), make([]error, len(databases))
	for i, database := range databases {
		u := &uploading{
			name: database, library: library, rng: rand.New(rand.NewPCG(o.seed, uint64(1+i))), cycles: o.cycles / len(databases), within: o.within,
			book: &ledger{}, slots: make(chan struct{}, sessionsAtOnce), seen: map[string]int{}, ctx: ctx, stop: stop,
		}
		if i == 0 {
			u.cycles += o.cycles % len(databases)
		}
		all.Go(func() {
			if results[i], errs[i] = u.whole(o.perigee, o.keep); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", database, errs[i])
				stop()
			}
		})
	}
	all.Wait()
	return strings.Join(results, "; "), errors.Join(errs...)
}

// whole is a run from its start to its end. keep leaves the files where they are if it fails.
func (u *uploading) whole(perigee string, keep bool) (result string, err error) {
	began := time.Now()
	if u.rig, err = newUploadRig(perigee, u.name); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, u.rig.close(keep && err != nil)) }()
	log.Printf("%s: all is started in %v", u.name, time.Since(began).Round(time.Millisecond))
	return u.run()
}

// uploading is one run of the proof on one database.
type uploading struct {
	name    string
	rig     *uploadRig
	library string
	rng     *rand.Rand // of the one goroutine that strikes
	cycles  int
	within  time.Duration // after it no cycle begins; 0 for all cycles
	book    *ledger
	slots   chan struct{}
	seen    map[string]int // faults
	ctx     context.Context
	stop    func()

	sessions sync.WaitGroup

	mu     sync.Mutex
	open   []*session
	sums   sums
	failed error
}

// sums is what is counted.
type sums struct {
	acked, open, resumed, removed, fetched, underWay int
}

func (u *uploading) count(f func(*sums)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.sums)
}

// trouble returns what a session or a process has failed with.
func (u *uploading) trouble() error {
	u.mu.Lock()
	err := u.failed
	u.mu.Unlock()
	return errors.Join(err, u.rig.trouble())
}

func (u *uploading) run() (result string, err error) {
	began, last := time.Now(), sums{}
	for n := range u.cycles {
		if u.within > 0 && time.Since(began) > u.within {
			u.cycles = n
			break
		}
		if err = u.cycle(); err != nil {
			err = fmt.Errorf("cycle %d: %w", n, err)
			break
		}
		if n%10 == 9 {
			u.count(func(s *sums) { last = *s })
			log.Printf("%s: %d cycles in %v, %+v", u.name, n+1, time.Since(began).Round(time.Second), last)
		}
		if (n+1)%auditEvery == 0 && n+1 < u.cycles {
			if _, err = u.audit(); err != nil {
				err = fmt.Errorf("audit after cycle %d: %w", n, err)
				break
			}
		}
	}
	left := ""
	if err == nil {
		if left, err = u.audit(); err != nil {
			err = fmt.Errorf("audit at the end: %w", err)
		}
	}
	if err != nil {
		u.end()
		return "", errors.Join(err, u.trouble())
	}
	s := u.sums
	return fmt.Sprintf("%s: %d cycles (%s)%s, %d of them with an upload under way: %d files acknowledged, all found with their bytes in catalogue, bucket and at the edge; "+
		"%d uploads of killed clients went on in a new process and ended well, %d were left alone, each resumable or gone; %d files removed, all gone; %s",
		u.name, u.cycles, u.faultsSeen(), u.neverFull(), s.underWay, s.acked, s.resumed, s.open, s.removed, left), nil
}

func (u *uploading) neverFull() string {
	if u.rig.buckets.mounted && u.rig.data.mounted {
		return ""
	}
	return " (no disk was ever full: file systems of their own could not be mounted)"
}

func (u *uploading) faultsSeen() string {
	var all []string
	for _, f := range faults {
		if n := u.seen[f.name]; n > 0 {
			all = append(all, fmt.Sprintf("%d× %s", n, f.name))
		}
	}
	return strings.Join(all, ", ")
}

// cycle begins a session, unless one is under way that this cycle's fault is to strike again, does one thing to the system and mends it.
func (u *uploading) cycle() error {
	if another := u.rng.IntN(2) == 0; another || u.underWay() == nil {
		if err := u.begin(); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(patience / 2); u.underWay() == nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Duration(u.rng.IntN(900)) * time.Millisecond)
	f, s := u.choose(), u.underWay()
	if s != nil {
		u.count(func(n *sums) { n.underWay++ })
	}
	if f.name == killClient && (s == nil || !s.kill()) {
		f = faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == "kill the API" })] // it was too fast
	}
	u.seen[f.name]++
	if f.strike != nil {
		if err := f.strike(u.rig, u.pause); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := u.trouble(); err != nil {
		return fmt.Errorf("after %s: %w", f.name, err)
	}
	return nil
}

func (u *uploading) pause() { time.Sleep(time.Duration(u.rng.IntN(400)) * time.Millisecond) }

// choose chooses a fault that this rig can have.
func (u *uploading) choose() fault {
	for {
		f := faults[u.rng.IntN(len(faults))]
		if (f.onlyPostgres && u.rig.postgres == nil) || (f.onlyDisk && u.neverFull() != "") {
			continue
		}
		return f
	}
}

// begin starts a session as soon as there may be one more.
func (u *uploading) begin() error {
	select {
	case u.slots <- struct{}{}:
	case <-u.ctx.Done():
		return errors.Join(u.ctx.Err(), u.trouble())
	}
	s := &session{u: u, resume: u.rng.IntN(3) > 0, remove: u.rng.Uint32(), erase: u.rng.IntN(4) > 0}
	s.files, s.places = makeUp(u.rng, u.book)
	u.mu.Lock()
	u.open = append(u.open, s)
	u.mu.Unlock()
	u.sessions.Go(func() {
		err := s.run()
		u.mu.Lock()
		defer u.mu.Unlock()
		u.open = slices.DeleteFunc(u.open, func(o *session) bool { return o == s })
		if err != nil && u.failed == nil {
			u.failed = err
			u.stop()
		}
		<-u.slots
	})
	return nil
}

// underWay returns the newest session with an upload that has begun and is not acknowledged; nil if there is none.
func (u *uploading) underWay() *session {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range slices.Backward(u.open) {
		if s.underWay() {
			return s
		}
	}
	return nil
}

// end kills all clients and waits for the sessions, which wait for nothing any more.
func (u *uploading) end() {
	u.rig.halted.Store(true)
	u.mu.Lock()
	for _, s := range u.open {
		s.resume = false
		if c := s.now(); c != nil {
			c.kill()
		}
	}
	u.mu.Unlock()
	u.sessions.Wait()
}

// check makes sure that catalogue, bucket and edge have what is at a place.
func (u *uploading) check(p *place) error {
	if err := u.rig.recorded(p.now); err != nil {
		return err
	}
	if err := u.rig.stored(context.Background(), p.path, p.now.hash); err != nil {
		return err
	}
	u.count(func(n *sums) { n.fetched++ })
	return u.rig.served(p)
}

// removeFile deletes a file, with all its versions if erase says so, and makes sure that catalogue and edge have it no more.
func (u *uploading) removeFile(p *place, erase bool) error {
	url := "/api/v1/sites/www/files" + string(p.path)
	query := ""
	if erase {
		query = "?versions=all"
	}
	res, err := u.rig.ask("DELETE", url+query, nil)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode/100 != 2 && res.StatusCode != http.StatusNotFound { // an earlier try, whose answer was lost, did it
		return fmt.Errorf("DELETE: %s", res.Status)
	}
	u.book.gone(p)
	u.count(func(n *sums) { n.removed++ })
	if res, err = u.rig.ask("GET", url, nil); err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusGone {
		return fmt.Errorf("it was deleted, the API still answers %s", res.Status)
	}
	return u.rig.served(p)
}
