package cache

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"perigee/clock"
	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// A store that takes nothing costs what is fetched its place in the cache and nothing else; a reader is given the bytes all the same, at one
// read from the origin each time.
func TestFailingDiskPassesThrough(t *testing.T) {
	for _, size := range []int64{1000, mib, 3*mib + 1} {
		r := newRig(t, func(c *Config) { c.RAM = 0 })
		data := cachetest.Bytes(size, 1)
		p := r.o.Publish("www", "/file", 1, data)
		r.e.store.Close() // what is closed takes nothing
		for i := range 2 {
			want := "miss disk-failed"
			if i == 0 {
				want = "uri-miss disk-failed"
			}
			expect(t, r.mustGet("/file", data), want)
			r.idle()
			if n := r.o.Reads(p.Blob); n != i+1 {
				t.Errorf("%d reads of the blob for %d requests", n, i+1)
			}
		}
		if s := r.e.Stats(); s.DiskFailures == 0 {
			t.Errorf("%+v", s)
		}
		r.o.AwaitClosed(t)
	}
}

// Everybody who waits for a chunk that the disk does not take gets it, from one read.
func TestFollowersOnAFailingDisk(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RAM = 0 })
	data := cachetest.Bytes(3*mib+1, 1)
	p := r.o.Publish("www", "/file", 1, data)
	release := make(chan struct{})
	r.o.Break(p.Blob, cachetest.Fault{Hold: release, At: 10, Times: 1})
	r.e.store.Close()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := r.check("/file", data); err != nil {
				t.Error(err)
			}
		})
	}
	r.o.Await(t, p.Blob, 1)
	close(release)
	wg.Wait()
	r.idle()
	r.o.AwaitClosed(t)
}

// The directory is taken away while the engine runs: nobody gets an error, and the store makes it anew when it needs the next segment.
func TestDirectoryTakenAway(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RAM = 0; c.Size = MinSize })
	file := func(i int) (object.Path, []byte) {
		return object.Path(fmt.Sprintf("/%d", i)), cachetest.Bytes(mib, uint64(i))
	}
	for i := range 40 {
		if i == 5 {
			if err := os.RemoveAll(filepath.Join(r.cfg.Dir, "store")); err != nil {
				t.Fatal(err)
			}
		}
		path, data := file(i)
		r.o.Publish("www", path, 1, data)
		for range 2 {
			r.mustGet(path, data)
		}
		r.idle()
	}
	r.checkBounds()
	r.restart()
	r.e.Confirm(r.cfg.Clock.Now())
	path, data := file(1)
	r.mustGet(path, data)
	r.idle()
	expect(t, r.mustGet(path, data), "hit disk")
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
	small, big := cachetest.Bytes(300_000, 1), cachetest.Bytes(6*mib, 2)
	r.o.Publish("www", "/small", 1, small)
	p := r.o.Publish("www", "/big", 1, big)
	r.mustGet("/small", small)
	r.idle()
	for range 2 {
		r.mustGet("/big", big)
		r.idle()
	}
	if s := r.e.Stats(); s.DiskFailures == 0 || s.Store.Failures == 0 {
		t.Errorf("a disk that is full was not noticed: %+v", s)
	}
	// Readers that follow a fill when the disk fails under it go on.
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
	r.mustGet("/small", small)
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
	failed := r.e.Stats().JournalFailed
	r.e.Close() // which may be unable to save
	r.open()
	defer r.e.Close()
	if behind, ok := r.e.Position().Behind(at(entries)); (!ok || behind != 0) && !failed { // not ok: there was no room for any position
		t.Errorf("after a restart %d entries are missing (%v), and the journal is said to be whole", behind, ok)
	}
	r.e.Confirm(r.cfg.Clock.Now())
	r.mustGet("/small", small)
	r.mustGet("/big", big)
}
