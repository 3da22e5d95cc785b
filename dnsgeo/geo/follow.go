package geo

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"perigee/clock"
)

// pollEvery is how often Run looks at the files.
const pollEvery = time.Second

// Previous returns the name under which the file lies that an update replaced.
func Previous(file string) string { return file + ".previous" }

// Follower keeps a Holder at what files hold.
//
// A new set of files is taken when it has looked the same twice, one poll apart, and still does after it was read: a file that is being copied into place
// is not read half. Files of the same content as before, which were merely touched, change nothing. Data that Swap refuses is left alone until the files change again.
type Follower struct {
	holder *Holder
	files  []string
	clock  clock.Clock
	log    *slog.Logger

	found   bool          // the files were there at the start
	seen    []os.FileInfo // how the files looked that were last dealt with; nil for one that is missing
	settles []os.FileInfo // how they looked at the last poll, when that was something new
}

// OpenFiles returns a Follower whose Holder has what the files hold, or the table in the binary if none of them is there. If they are there and cannot be
// used, the files that the last update replaced are taken, see Previous, and the error is logged; without those it is returned.
func OpenFiles(files []string, c clock.Clock, log *slog.Logger) (*Follower, error) {
	db, err := Embedded()
	if err != nil {
		return nil, err
	}
	f := &Follower{holder: NewHolder(db), files: files, clock: c, log: log}
	f.seen = f.look()
	for _, info := range f.seen {
		f.found = f.found || info != nil
	}
	if !f.found {
		return f, nil
	}
	if err = f.take(); err == nil {
		return f, nil
	}
	older := make([]string, len(files))
	for i, file := range files {
		if older[i] = Previous(file); !exists(older[i]) {
			older[i] = file
		}
	}
	if f.holder.Swap(older...) != nil {
		return nil, err
	}
	log.Error("the geo data cannot be used; that from before the last update is in use", "files", strings.Join(files, " "), "err", err)
	return f, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// Holder returns the Holder that is kept.
func (f *Follower) Holder() *Holder { return f.holder }

// Files returns the files that are followed. The caller must not change them.
func (f *Follower) Files() []string { return f.files }

// Found reports whether any of the files was there when they were opened.
func (f *Follower) Found() bool { return f.found }

// Run follows the files until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	t := f.clock.NewTicker(pollEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
			f.poll()
		}
	}
}

// poll looks at the files and takes them if they have changed and settled.
func (f *Follower) poll() {
	now := f.look()
	if alike(now, f.seen) {
		f.settles = nil
		return
	}
	if f.settles == nil || !alike(now, f.settles) {
		f.settles = now
		return
	}
	for _, info := range now {
		if info == nil {
			return // one is being replaced, or gone: what is in use stays
		}
	}
	err := f.take()
	if after := f.look(); !alike(after, now) {
		f.settles = after // changed while they were read: what was found says nothing about them
		return
	}
	f.seen, f.settles = now, nil
	if err != nil {
		f.log.Error("the new geo data is not used; the old stays", "files", strings.Join(f.files, " "), "err", err)
	}
}

// take puts what the files hold into use, unless it is in use or the operator has rejected it.
func (f *Follower) take() error {
	id, err := Identity(f.files...)
	if err != nil {
		return err
	}
	if id == f.holder.Current().Identity() {
		return nil
	}
	verdict, err := ReadVerdict(f.files[0])
	if err != nil {
		f.log.Warn("the operator's word on geo data is not heard", "err", err)
	}
	switch {
	case id == verdict.Reject:
		return errors.New("it was rolled back; put another file in place, or use `perigee geo update --force`")
	case id == verdict.Accept && f.holder.restore(id):
	case id == verdict.Accept:
		err = f.holder.Force(f.files...)
	default:
		err = f.holder.Swap(f.files...)
	}
	if err == nil {
		f.log.Info("new geo data in use", "files", strings.Join(f.files, " "), "source", f.holder.Current().Passport().Source)
	}
	return err
}

func (f *Follower) look() []os.FileInfo {
	infos := make([]os.FileInfo, len(f.files))
	for i, file := range f.files {
		if info, err := os.Stat(file); err == nil {
			infos[i] = info // else it is missing, or as good as missing
		}
	}
	return infos
}

// alike reports whether the files are, as far as their names and times tell, the same.
func alike(a, b []os.FileInfo) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) {
			return false
		}
		if a[i] != nil && !(os.SameFile(a[i], b[i]) && a[i].ModTime().Equal(b[i].ModTime()) && a[i].Size() == b[i].Size()) {
			return false
		}
	}
	return true
}
