package cache

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"perigee/clock"
	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// A disk that fails a fill in any way costs its place in the cache and nothing else.
func TestFailingDiskPassesThrough(t *testing.T) {
	tmp := func(r *rig) string { return filepath.Join(r.cfg.Dir, "tmp") }
	for what, hurt := range map[string]func(r *rig) error{
		"tmp is gone":   func(r *rig) error { return os.Remove(tmp(r)) },
		"tmp is a file": func(r *rig) error { return errors.Join(os.Remove(tmp(r)), os.WriteFile(tmp(r), nil, 0o600)) },
		"tmp is full of itself": func(r *rig) error {
			return errors.Join(os.Remove(tmp(r)), os.Symlink(tmp(r), tmp(r)))
		},
		"blobs is a file": func(r *rig) error {
			dir := filepath.Join(r.cfg.Dir, "blobs")
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		},
	} {
		t.Run(what, func(t *testing.T) {
			for _, size := range []int64{1000, mib, 3*mib + 1} {
				r := newRig(t, func(c *Config) { c.RAM = 0 })
				data := cachetest.Bytes(size, 1)
				r.o.Publish("www", "/file", 1, data)
				if err := hurt(r); err != nil {
					t.Fatal(err)
				}
				for i := range int64(2) {
					r.mustGet("/file", data)
					r.idle()
					if s := r.e.Stats(); s.DiskFailures != i+1 || s.Blobs != 0 || s.DiskBytes != 0 {
						t.Errorf("%+v", s)
					}
				}
				r.o.AwaitClosed(t)
				if n := openFiles(t, r.cfg.Dir+"/tmp"); n != 0 {
					t.Errorf("%d files left open", n)
				}
			}
		})
	}
}

// limitVar tells a child process of this test that its files may not grow beyond that many bytes.
const limitVar = "PERIGEE_TEST_FILE_LIMIT"

// TestFullDisk runs itself again in a process whose files may not grow beyond 1.5 MiB: writes fail in the middle of a fill
// as they do on a full disk. Root rights or a small file system are not needed for that.
func TestFullDisk(t *testing.T) {
	if os.Getenv(limitVar) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), limitVar+"=1572864")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestFullDisk") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ) // then write says EFBIG
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1572864, Max: 1572864}); err != nil {
		t.Fatal(err)
	}
	fullDisk(t, t.TempDir())
}

// TestFullFileSystem does the same on a small file system, where the process may mount one.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Logf("no file system can be mounted here (%v); TestFullDisk stands for it", err)
		return
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	fullDisk(t, dir)
}

// fullDisk serves files that fit and files that do not from a directory with room for 1.5 to 2 MiB in one file.
func fullDisk(t *testing.T, dir string) {
	r := &rig{t: t, o: cachetest.NewOrigin(), site: cachetest.Site("www")}
	r.cfg = Config{Dir: dir, Size: 1 << 30, Origin: r.o, Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
	r.open()
	r.e.Confirm(r.cfg.Clock.Now())
	small, big := cachetest.Bytes(300_000, 1), cachetest.Bytes(3*mib, 2)
	r.o.Publish("www", "/small", 1, small)
	p := r.o.Publish("www", "/big", 1, big)
	r.mustGet("/small", small)
	r.idle()
	for range 2 {
		r.mustGet("/big", big)
		r.idle()
	}
	// Readers that follow a fill when the disk fails under it go on at the origin.
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: mib, Times: 1})
	readers := []*reader{r.follow(t.Context(), p), r.follow(t.Context(), p)}
	close(release)
	for _, f := range readers {
		if err := <-f.done; err != nil || !bytes.Equal(f.out.buf.Bytes(), big) {
			t.Errorf("wrong bytes or error %v", err)
		}
	}
	r.idle()
	if s := r.e.Stats(); s.DiskFailures != 3 || s.Blobs != 1 {
		t.Errorf("%+v", s)
	}
	r.checkDisk()
	expect(t, r.mustGet("/small", small), "hit disk")
	// The log goes on, whether the journal can be written or not.
	const entries = 400
	for i := range entries {
		p := cachetest.Pointer("www", object.Path(fmt.Sprintf("/name-%d", i)), 1, small)
		for j := range object.MaxTags {
			p.Tags = append(p.Tags, object.Tag(fmt.Sprintf("%0128d", j)))
		}
		r.apply(pointerEntry(p))
	}
	if got, want := r.e.Position().String(), at(entries).String(); got != want {
		t.Errorf("position %s, want %s", got, want)
	}
	if !r.e.Stats().JournalFailed {
		t.Error("a journal of so many entries should not have fitted")
	}
	r.stop()
	r.open()
	defer r.stop()
	behind, ok := r.e.Position().Behind(at(entries))
	if !ok || behind == 0 || behind == entries {
		t.Errorf("after a restart %d entries are missing (%v); want those that did not fit", behind, ok)
	}
	r.e.Confirm(r.cfg.Clock.Now())
	expect(t, r.mustGet("/small", small), "hit disk")
}
