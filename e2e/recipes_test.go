package e2e

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRecipes runs the blocks of docs/recipes.md, word for word and one after the other in one shell, as somebody would who follows the page.
func TestRecipes(t *testing.T) {
	// Debian's commands come first: a language's version manager may have put something of the same name before them.
	path := "/usr/bin:" + os.Getenv("PATH")
	t.Setenv("PATH", path)
	for _, tool := range []string{"aws", "rclone"} {
		if out, err := exec.Command(tool, "--version").CombinedOutput(); err != nil {
			t.Skipf("there is no %s that works: install the packages awscli and rclone (%v %.100s)", tool, err, out)
		}
	}
	page, err := os.ReadFile("../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 5 {
		t.Fatalf("%d blocks: they are no longer written as this test reads them", len(blocks))
	}
	s := up(t)
	dir := t.TempDir()
	site := map[string]string{"index.html": "<p>hello", "site/a.txt": "a", "site/sub/b.css": "b{}", "site/sub/deep/c.js": "c()"}
	for name, body := range site {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := "set -euo pipefail\n"
	for _, b := range blocks {
		script += b[1]
	}
	cmd := exec.CommandContext(within(t, 3*long), "bash", "-c", script)
	cmd.Dir = dir
	// Nothing else of this environment: both tools read variables that a machine may have for another purpose.
	cmd.Env = []string{"PATH=" + path, "HOME=" + dir, "PERIGEE=http://" + s.API, "S3=http://" + s.S3, "DATA=" + s.Dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, body := range site {
		at := strings.TrimPrefix(name, "site")
		if !strings.HasPrefix(at, "/") {
			at = "/" + at
		}
		if a := fetchOK(t, s.Edges["fra"], s.siteURL(at)); string(a.Body) != body {
			t.Errorf("%s: %q", at, a.Body)
		}
	}
	for _, backup := range []string{"backup-aws", "backup-rclone"} {
		blobs := 0
		err := filepath.WalkDir(filepath.Join(dir, backup, "b"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				blobs++
			}
			return err
		})
		if err != nil || blobs != len(site) {
			t.Errorf("%s has %d blobs, published were %d: %v\n%s", backup, blobs, len(site), err, out)
		}
	}
}
