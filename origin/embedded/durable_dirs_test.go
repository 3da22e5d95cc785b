package embedded

import (
	"errors"
	"strings"
	"testing"
)

// dirTape returns a durableDirs and a function that publishes a path and tells what was synced.
func dirTape() (*durableDirs, func(path string) string) {
	var synced []string
	d := newDurableDirs(func(path string) error { synced = append(synced, path); return nil })
	return d, func(path string) string {
		synced = nil
		if err := d.publish("/r", path); err != nil {
			return err.Error()
		}
		return strings.Join(synced, " ")
	}
}

func TestDurableDirs(t *testing.T) {
	d, publish := dirTape()
	for _, c := range []struct{ path, want string }{
		{"/r/a/b/x", "/r/a/b /r/a /r"},
		{"/r/a/b/y", "/r/a/b"},
		{"/r/a/c/x", "/r/a/c /r/a"},
		{"/r/x", "/r"},
	} {
		if got := publish(c.path); got != c.want {
			t.Fatalf("%s: synced %s, want %s", c.path, got, c.want)
		}
	}
	if err := d.remove("/r", "/r/a/b/x", func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got, want := publish("/r/a/c/y"), "/r/a/c"; got != want { // it was not empty, so nothing above it went away
		t.Fatalf("beside what was removed: synced %s, want %s", got, want)
	}
	if got, want := publish("/r/a/b/y"), "/r/a/b /r/a /r"; got != want {
		t.Fatalf("where something was removed: synced %s, want %s", got, want)
	}
}

// TestDurableDirsDuringRemoval is the interleaving of the comment: the directory is removed and made anew while the removal
// has not ended.
func TestDurableDirsDuringRemoval(t *testing.T) {
	d, publish := dirTape()
	publish("/r/a/x")
	const whole = "/r/a /r"
	if err := d.remove("/r", "/r/a/x", func() error {
		for range 2 { // the first must not make the second trust it
			if got := publish("/r/a/y"); got != whole {
				t.Errorf("during the removal: synced %s, want %s", got, whole)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := publish("/r/a/z"); got != whole {
		t.Fatalf("after the removal: synced %s, want %s", got, whole)
	}
	if got := publish("/r/a/z"); got != "/r/a" {
		t.Fatalf("later: synced %s, want /r/a", got)
	}
}

// TestDurableDirsAcrossRemoval: a removal that begins and ends while a publish is syncing.
func TestDurableDirsAcrossRemoval(t *testing.T) {
	var d *durableDirs
	once := true
	d = newDurableDirs(func(string) error {
		if once {
			once = false
			return d.remove("/r", "/r/a/other", func() error { return nil })
		}
		return nil
	})
	if err := d.publish("/r", "/r/a/x"); err != nil {
		t.Fatal(err)
	}
	if d.remembers("/r/a") {
		t.Fatal("a directory is remembered that a removal may have taken away")
	}
}

func TestDurableDirsForgetWhatFailed(t *testing.T) {
	broken := errors.New("broken")
	fail := true
	d := newDurableDirs(func(path string) error {
		if fail && path == "/r" {
			return broken
		}
		return nil
	})
	if err := d.publish("/r", "/r/a/x"); !errors.Is(err, broken) {
		t.Fatalf("publish: %v", err)
	}
	if d.remembers("/r/a") {
		t.Fatal("a directory is remembered whose name is not durable")
	}
}

func TestDurableDirsAreBounded(t *testing.T) {
	d := newDurableDirs(func(string) error { return nil })
	path := []byte("/r/0000000/x")
	for i := range rememberedDirs + 100 {
		for j, n := 9, i; j > 2; j, n = j-1, n/10 {
			path[j] = byte('0' + n%10)
		}
		if err := d.publish("/r", string(path)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.known); n > rememberedDirs {
		t.Fatalf("%d directories are remembered", n)
	}
}
