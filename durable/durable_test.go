package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"perigee/durable"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	for _, want := range []string{"one", "", "three"} {
		if err := durable.ReplaceBytes(file, 0o640, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o640 {
		t.Fatalf("%v, %v", fi.Mode(), err)
	}
	broken := errors.New("broken")
	err := durable.Replace(file, 0o600, func(w io.Writer) error {
		io.WriteString(w, "half")
		return broken
	})
	if got, _ := os.ReadFile(file); !errors.Is(err, broken) || string(got) != "three" {
		t.Fatalf("after a failure: %q, %v", got, err)
	}
	if err := durable.ReplaceBytes(filepath.Join(dir, "missing", "f"), 0o600, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("in a directory that is not there: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := durable.CreateBytes(file, 0o600, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := durable.CreateBytes(file, 0o600, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != "first" {
		t.Fatalf("%q", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
}
