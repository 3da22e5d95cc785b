package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"perigee/client"
	"perigee/client/clienttest"
)

// sampleTree makes a tree with names and contents that break careless programs. It returns what should be published.
func sampleTree(t *testing.T, root string) map[string]string {
	t.Helper()
	big := strings.Repeat("0123456789abcdef", (smallFile+(1<<20))/16)
	files := map[string]string{
		"index.html": "<h1>hi</h1>", "empty": "", "a b/c d.txt": "spaces", "文件/图片.png": "中文", "100%/%2F.txt": "percent", "q?x=1#f": "query",
		"é́": "combining", ".hidden": "dot", "deep/er/and/deeper/x": "deep", "big.bin": big, "..two": "dots", "newline-free": "x\n",
	}
	for name, content := range files {
		writeFile(t, filepath.Join(root, name), content)
	}
	return files
}

func TestPutOfATree(t *testing.T) {
	root := t.TempDir()
	files := sampleTree(t, root)
	s := clienttest.New(t)
	s.PageSize = 5
	r := perigee(t, contact(s), "put", root, "www:/site").want(t, 0)
	for name, content := range files {
		if got, ok := s.Body("www:/site/" + name); !ok || got != content {
			t.Errorf("%s: %d bytes arrived, want %d", name, len(got), len(content))
		}
	}
	if n := strings.Count(r.out, "http://www.perigee.test:8100/site/"); n != len(files) || len(s.Names()) != len(files) {
		t.Errorf("%d URLs for %d files, %d published", n, len(files), len(s.Names()))
	}
	if !strings.Contains(r.errOut, fmt.Sprintf("%d files: %d uploaded", len(files), len(files))) || strings.Contains(r.errOut, "\r") {
		t.Errorf("summary %q", r.errOut)
	}

	puts := s.Calls("PUT ")
	r = perigee(t, contact(s), "put", root, "www:/site/").want(t, 0)
	if s.Calls("PUT ") != puts || r.out != "" || !strings.Contains(r.errOut, fmt.Sprintf("0 uploaded (0 B), %d unchanged", len(files))) {
		t.Errorf("unchanged files were sent again: %s", r.errOut)
	}

	writeFile(t, filepath.Join(root, "empty"), "no longer")
	r = perigee(t, contact(s), "put", root, "www:/site").want(t, 0)
	if s.Calls("PUT ") != puts+1 || strings.TrimSpace(r.out) != "http://www.perigee.test:8100/site/empty" {
		t.Errorf("of one changed file: %q", r.out)
	}
	perigee(t, contact(s), "put", "--force", "-q", root, "www:/site").want(t, 0)
	if s.Calls("PUT ") != puts+1+len(files) {
		t.Error("--force did not send all")
	}
}

func TestPutOfOneFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "报告 1.pdf")
	writeFile(t, file, "pdf")
	for target, want := range map[string]string{
		"": "www:/报告 1.pdf", "docs:": "docs:/报告 1.pdf", "www:/dir/": "www:/dir/报告 1.pdf", "/x/y.pdf": "www:/x/y.pdf", "docs:/z": "docs:/z",
	} {
		s := clienttest.New(t)
		args := []string{"put", file}
		if target != "" {
			args = append(args, target)
		}
		for range 2 { // unchanged or not, a script wants the URL
			r := perigee(t, contact(s), args...).want(t, 0)
			if names := s.Names(); len(names) != 1 || names[0] != want || !strings.HasPrefix(r.out, "http://") || strings.Count(r.out, "\n") != 1 || r.errOut != "" {
				t.Errorf("%q: %v, %q, %q", target, names, r.out, r.errOut)
			}
		}
		if s.Calls("PUT ") != 1 {
			t.Errorf("%q: sent %d times", target, s.Calls("PUT "))
		}
	}
}

func TestPutFollowsLinksToFilesAndSkipsWhatIsNoFile(t *testing.T) {
	root := filepath.Join(t.TempDir(), "tree")
	writeFile(t, filepath.Join(root, "real/a"), "content")
	for link, to := range map[string]string{"link": "real/a", "dangling": "nowhere", "dirlink": "real", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := clienttest.New(t)
	lines := jsonLines[struct {
		putResult
		Summary *putSummary
	}](t, perigee(t, contact(s), "put", "--json", root).want(t, 0).out)
	got := map[string]outcome{}
	for _, l := range lines[:len(lines)-1] {
		got[filepath.Base(l.Source)] = l.Status
	}
	want := map[string]outcome{"a": uploaded, "link": uploaded, "dangling": skipped, "dirlink": skipped, "loop": skipped, "pipe": skipped}
	for name, st := range want {
		if got[name] != st {
			t.Errorf("%s is %s, want %s", name, got[name], st)
		}
	}
	if sum := lines[len(lines)-1].Summary; sum == nil || sum.Files != 6 || sum.Uploaded != 2 || sum.Skipped != 4 || sum.Bytes != 14 {
		t.Errorf("summary %+v", sum)
	}
	// A source that is itself a link to a directory is what the person meant.
	s2 := clienttest.New(t)
	perigee(t, contact(s2), "put", filepath.Join(root, "dirlink"), "www:/d").want(t, 0)
	if names := s2.Names(); !slices.Equal(names, []string{"www:/d/a"}) {
		t.Error(names)
	}
	perigee(t, contact(s2), "put", filepath.Join(root, "pipe")).want(t, 1)
	perigee(t, contact(s2), "put", filepath.Join(root, "none")).want(t, 1)
}

func TestPutReportsNamesThatCannotBePublished(t *testing.T) {
	root := t.TempDir()
	for _, bad := range []string{`back\slash`, "new\nline", "tab\tname", "_perigee/x"} {
		writeFile(t, filepath.Join(root, bad), "x")
	}
	writeFile(t, filepath.Join(root, "latin1-\xe9"), "x")
	writeFile(t, filepath.Join(root, "good"), "x")
	s := clienttest.New(t)
	r := perigee(t, contact(s), "put", root).want(t, 1)
	if names := s.Names(); !slices.Equal(names, []string{"www:/good"}) {
		t.Error(names)
	}
	if n := strings.Count(r.errOut, "failed \""); n != 5 || !strings.Contains(r.errOut, "5 failed") || !strings.Contains(r.errOut, `new\nline`) {
		t.Errorf("%s", r.errOut)
	}
}

func TestPutReportsUnreadableFiles(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "secret"), "x")
	if err := os.Chmod(filepath.Join(root, "secret"), 0); err != nil {
		t.Fatal(err)
	}
	r := perigee(t, contact(clienttest.New(t)), "put", root).want(t, 1)
	if !strings.Contains(r.errOut, "permission denied") {
		t.Error(r.errOut)
	}
}

func TestPutTriesAgain(t *testing.T) {
	root := t.TempDir()
	files := sampleTree(t, root)
	s := clienttest.New(t)
	var n atomic.Int64
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodPut && n.Add(1)%3 != 0 { // two of three fail
			return http.StatusServiceUnavailable
		}
		return 0
	}
	perigee(t, contact(s), "put", "--pause", "1ms", "--tries", "40", "-j", "4", "-q", root).want(t, 0)
	if len(s.Names()) != len(files) {
		t.Errorf("%d of %d files", len(s.Names()), len(files))
	}
}

func TestPutDoesNotTryWhatCannotWork(t *testing.T) {
	root := t.TempDir()
	sampleTree(t, root)
	s := clienttest.New(t)
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/empty") {
			return http.StatusRequestEntityTooLarge
		}
		return 0
	}
	r := perigee(t, contact(s), "put", "-q", root).want(t, 1)
	if s.Calls("PUT /api/v1/sites/www/files/empty") != 1 || !strings.Contains(r.errOut, "1 failed") {
		t.Error(r.errOut)
	}
}

func TestPutGivesUpOnAServerThatKeepsFailing(t *testing.T) {
	root := t.TempDir()
	for i := range 200 {
		writeFile(t, filepath.Join(root, fmt.Sprint(i)), "x")
	}
	s := clienttest.New(t)
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodPut {
			return http.StatusBadGateway
		}
		return 0
	}
	r := perigee(t, contact(s), "put", "--pause", "1ms", "--tries", "2", "-j", "3", root).want(t, 1)
	if n := s.Calls("PUT "); n > 40 || !strings.Contains(r.errOut, "goes on where it ended") {
		t.Errorf("%d calls; %s", n, r.errOut)
	}
}

func TestPutGoesOnWhenOnlySomeFilesFail(t *testing.T) {
	root := t.TempDir()
	for i := range 40 {
		writeFile(t, filepath.Join(root, fmt.Sprintf("%02d", i)), "x")
	}
	s := clienttest.New(t)
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodPut && (r.URL.Path[len(r.URL.Path)-1]-'0')%2 == 0 {
			return http.StatusInternalServerError
		}
		return 0
	}
	r := perigee(t, contact(s), "put", "-q", "--tries", "1", "-j", "1", root).want(t, 1)
	if len(s.Names()) != 20 || !strings.Contains(r.errOut, "20 uploaded") || !strings.Contains(r.errOut, "20 failed") {
		t.Error(r.errOut)
	}
}

func TestPutEndsWhenInterrupted(t *testing.T) {
	root := t.TempDir()
	for i := range 100 {
		writeFile(t, filepath.Join(root, fmt.Sprint(i)), "x")
	}
	s := clienttest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodPut {
			cancel()
			io.Copy(io.Discard, r.Body) // until then the server does not notice that its client has gone
			<-r.Context().Done()
		}
		return 0
	}
	perigeeIn(t, ctx, contact(s), "", "put", "-j", "2", root).want(t, 130)
	if n := s.Calls("PUT "); n > 2 {
		t.Errorf("%d files were begun", n)
	}
}

func TestPutDryRunAndOptions(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "a"), "a")
	writeFile(t, filepath.Join(root, "b"), "b")
	s := clienttest.New(t)
	r := perigee(t, contact(s), "put", "-n", root, "docs:/d").want(t, 0)
	if len(s.Names()) != 0 || !strings.Contains(r.out, "docs:/d/a\n") || !strings.Contains(r.errOut, "2 to upload") {
		t.Error(r.out, r.errOut)
	}
	perigee(t, contact(s), "put", "--tags", "x, y", "--cache-control", "max-age=60", filepath.Join(root, "a")).want(t, 0)
	f := jsonLines[client.File](t, perigee(t, contact(s), "ls", "--json").want(t, 0).out)
	if len(f) != 1 || len(f[0].Tags) != 2 || f[0].CacheControl != "max-age=60" {
		t.Errorf("%+v", f)
	}
	for _, args := range [][]string{{"--tags", "a b"}, {"-j", "0"}, {"--tries", "0"}} {
		perigee(t, contact(s), append([]string{"put", root}, args...)...).want(t, 1)
	}
	perigee(t, contact(s), "put", root, "nonsense").want(t, 1)
}

func TestAFileThatChangesWhileItIsSentIsSentAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	writeFile(t, file, strings.Repeat("a", smallFile+1000))
	s := clienttest.New(t)
	changed := false
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodPut && !changed {
			changed = true
			if err := os.WriteFile(file, []byte(strings.Repeat("b", smallFile+1000)), 0o644); err != nil {
				panic(err)
			}
		}
		return 0
	}
	perigee(t, contact(s), "put", "--pause", "1ms", file).want(t, 0)
	if got, _ := s.Body("www:/log"); strings.Trim(got, "b") != "" || len(got) != smallFile+1000 {
		t.Error("a mixture of two states was published")
	}
}

func TestLs(t *testing.T) {
	root := t.TempDir()
	sampleTree(t, root)
	s := clienttest.New(t)
	s.PageSize = 3
	perigee(t, contact(s), "put", "-q", root).want(t, 0)
	r := perigee(t, contact(s), "ls").want(t, 0)
	if strings.Count(r.out, "\n") != len(s.Names()) || !strings.Contains(r.out, "/文件/图片.png\n") {
		t.Error(r.out)
	}
	r = perigee(t, contact(s), "ls", "-l", "www:/a b").want(t, 0)
	if strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, "http://www.perigee.test:8100/a%20b/c%20d.txt") {
		t.Error(r.out)
	}
	f := jsonLines[client.File](t, perigee(t, contact(s), "ls", "--json", "www:/deep").want(t, 0).out)
	if len(f) != 1 || f[0].Path != "/deep/er/and/deeper/x" || f[0].SHA256.IsZero() {
		t.Errorf("%+v", f)
	}
	if r := perigee(t, contact(s), "ls", "docs:").want(t, 0); r.out != "" {
		t.Error(r.out)
	}
}

func TestRm(t *testing.T) {
	root := t.TempDir()
	sampleTree(t, root)
	s := clienttest.New(t)
	perigee(t, contact(s), "put", "-q", root).want(t, 0)
	all := len(s.Names())

	perigee(t, contact(s), "rm", "www:/empty", "/a b/c d.txt").want(t, 0)
	if len(s.Names()) != all-2 {
		t.Error(s.Names())
	}
	r := perigee(t, contact(s), "rm", "www:/empty").want(t, 1)
	if !strings.Contains(r.errOut, "no file") {
		t.Error(r.errOut)
	}
	r = perigee(t, contact(s), "rm", "www:/deep/").want(t, 1)
	if !strings.Contains(r.errOut, "-r") {
		t.Error(r.errOut)
	}
	r = perigee(t, contact(s), "rm", "-r", "www:/deep").want(t, 1)
	if len(s.Names()) != all-2 || !strings.Contains(r.errOut, "--yes") {
		t.Error("deleted without being asked: ", r.errOut)
	}
	perigee(t, contact(s), "rm", "-r", "--yes", "www:/deep").want(t, 0)
	if len(s.Names()) != all-3 {
		t.Error(s.Names())
	}
	r = perigee(t, contact(s), "rm", "-ry", "--json", "www:/").want(t, 0)
	if len(s.Names()) != 0 || !strings.Contains(r.out, fmt.Sprintf(`"deleted": %d`, all-3)) {
		t.Error(s.Names(), r.out)
	}
	perigee(t, contact(s), "rm", "-ry", "www:/").want(t, 0) // nothing is left, which is what was asked for
}

func TestRmRecursiveKeepsToItsDirectory(t *testing.T) {
	s := clienttest.New(t)
	root := t.TempDir()
	for _, n := range []string{"d/x", "d-side/x", "dx"} {
		writeFile(t, filepath.Join(root, n), "x")
	}
	perigee(t, contact(s), "put", "-q", root).want(t, 0)
	perigee(t, contact(s), "rm", "-ry", "www:/d").want(t, 0)
	if names := s.Names(); !slices.Equal(names, []string{"www:/d-side/x", "www:/dx"}) {
		t.Error(names)
	}
}

func TestRmCountsFailures(t *testing.T) {
	s := clienttest.New(t)
	root := t.TempDir()
	for i := range 10 {
		writeFile(t, filepath.Join(root, fmt.Sprint(i)), "x")
	}
	perigee(t, contact(s), "put", "-q", root).want(t, 0)
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/3") {
			return http.StatusConflict
		}
		return 0
	}
	r := perigee(t, contact(s), "rm", "-ry", "--json", "www:/").want(t, 1)
	if !slices.Equal(s.Names(), []string{"www:/3"}) || !strings.Contains(r.out, `"failed": 1`) || !strings.Contains(r.errOut, "www:/3") {
		t.Error(s.Names(), r.out, r.errOut)
	}
}

func TestFindFilesOfAVanishedDirectory(t *testing.T) {
	if _, err := findFiles(filepath.Join(t.TempDir(), "x"), target{"www", "/"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
