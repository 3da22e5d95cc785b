package e2e

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/miniotest"
)

// otherStore is a bucket on a server of its own, with credentials of its own.
type otherStore struct {
	name string
	all  origin.Config // may do everything
	edge origin.Config // may read
}

// TestSiteOnAnotherStore: a site whose objects lie in a second bucket, on another server with other credentials, beside Perigee's own: what is written
// there is served, followed, looked at by doctor and left alone by everything that deletes.
func TestSiteOnAnotherStore(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		siteOnAnotherStore(t, startStore(t))
	})
	t.Run("minio", func(t *testing.T) {
		c := miniotest.Start(t, miniotest.Options{}).Config()
		c.Bucket = miniotest.Bucket
		siteOnAnotherStore(t, otherStore{"second", c, c})
	})
}

// startStore runs the embedded S3 server once more, alone.
func startStore(t *testing.T) otherStore {
	t.Helper()
	addr := freeAddr(t)
	at := func(access, secret string) origin.Config {
		return origin.Config{Endpoint: "http://" + addr, Bucket: "films-2026", AccessKey: access, SecretKey: secret, PathStyle: true, Log: slog.New(slog.DiscardHandler)}
	}
	o := otherStore{"second", at("second-root", "second-root-secret-0123456789"), at("second-edge", "second-edge-secret-0123456789")}
	cmd := exec.Command(binary, "storage", "--data", t.TempDir())
	for _, set := range []string{"endpoint=http://" + addr, "embedded.listen=" + addr, "bucket=" + o.all.Bucket, "access_key=" + o.all.AccessKey, "secret_key=" + o.all.SecretKey,
		"edge_access_key=" + o.edge.AccessKey, "edge_secret_key=" + o.edge.SecretKey} {
		cmd.Args = append(cmd.Args, "--set", "storage."+set)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ok(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the second store answers", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return o
}

// upWithStore starts a system that knows one more store.
func upWithStore(t *testing.T, o otherStore) *System {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perigee.yaml")
	yaml := fmt.Sprintf("stores:\n  - name: %s\n    endpoint: %s\n    region: us-east-1\n    bucket: %s\n    access_key: %s\n    secret_key: %s\n    edge_access_key: %s\n    edge_secret_key: %s\n    path_style: true\n",
		o.name, o.all.Endpoint, o.all.Bucket, o.all.AccessKey, o.all.SecretKey, o.edge.AccessKey, o.edge.SecretKey)
	ok(t, os.WriteFile(file, []byte(yaml), 0o600))
	s, err := NewSystem(binary, filepath.Join(t.TempDir(), "data"))
	ok(t, err)
	s.Env = []string{"PERIGEE_CONFIG=" + file}
	start(t, s)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.LogTail())
		}
		if s.running() {
			s.Interrupt(within(t, long))
		}
	})
	return s
}

// storeWorld is a system with the site films on another store.
type storeWorld struct {
	t *testing.T
	s *System
	w *origin.Writer // of the other store
}

func siteOnAnotherStore(t *testing.T, o otherStore) {
	writer, err := origin.NewWriter(t.Context(), o.all)
	ok(t, err)
	defer writer.Close()
	ok(t, writer.EnsureBucket(t.Context()))
	x := &storeWorld{t, upWithStore(t, o), writer}
	if _, err := x.s.Perigee(within(t, long), "sites", "create", "films", "--host", "films.perigee.test", "--store", o.name, "--poll", "1s"); err != nil {
		t.Fatal(err)
	}
	x.seen("nothing", "/a.txt", "")
	for i := range 3 {
		body := fmt.Sprint("state ", i)
		x.write("a.txt", body)
		x.seen(body, "/a.txt", body)
	}
	x.write("deep/er/b.txt", "b")
	x.seen("a second object", "/deep/er/b.txt", "b")
	x.refused()
	x.operated()
	ok(t, writer.Delete(t.Context(), "a.txt"))
	x.seen("the end", "/a.txt", "")
	x.seen("the other one stays", "/deep/er/b.txt", "b")
	ok(t, x.s.Kill(within(t, long)))
	start(t, x.s)
	x.seen("after a crash", "/deep/er/b.txt", "b")
}

func (x *storeWorld) write(key, body string) {
	x.t.Helper()
	_, err := x.w.Put(x.t.Context(), object.Key(key), []byte(body), origin.PutOptions{ContentType: "text/plain"})
	ok(x.t, err)
}

// seen waits until every edge answers with body, or with 404 for "".
func (x *storeWorld) seen(what, path, body string) {
	x.t.Helper()
	for name, addr := range x.s.Edges {
		eventually(x.t, what+" at "+name, func() bool {
			a, err := Fetch(within(x.t, long), addr, fmt.Sprintf("http://films.perigee.test:%d%s", x.s.EdgePort, path))
			return err == nil && (body == "" && a.Status == 404 || body != "" && a.Status == 200 && string(a.Body) == body)
		})
	}
}

// refused: whatever would change or count what Perigee does not store says so, and changes nothing.
func (x *storeWorld) refused() {
	x.t.Helper()
	hash := strings.Repeat("0", 64)
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/files/a.txt", "x"},
		{"DELETE", "/files/a.txt", ""},
		{"DELETE", "/files/a.txt?versions=all", ""},
		{"DELETE", "/files/never?versions=all", ""},
		{"POST", "/files/a.txt/rollback", `{"version":"0000000000000000"}`},
		{"POST", "/erase", `{"paths":["/a.txt"]}`},
		{"POST", "/erase", `{"sha256":"` + hash + `"}`},
		{"PATCH", "", `{"quota":{"bytes":1}}`},
		{"POST", "/recount", ""},
	} {
		req, err := http.NewRequestWithContext(within(x.t, long), c.method, x.s.URL("/api/v1/sites/films"+c.path), jsonBody(c.body))
		ok(x.t, err)
		a, err := do(http.DefaultClient, req)
		ok(x.t, err)
		var p struct{ Type, Detail string }
		if err := json.Unmarshal(a.Body, &p); err != nil || a.Status != 409 || p.Type != "/problems/other-kind" || !strings.Contains(p.Detail, "bucket") {
			x.t.Errorf("%s %s %s = %d %s", c.method, c.path, c.body, a.Status, a.Body)
		}
	}
	// Everywhere is everywhere that something is stored; the hash that objects of buckets have in place of one names nothing.
	if out, err := x.s.Perigee(within(x.t, long), "erase", "--sha256", hash, "--yes"); err == nil && !strings.Contains(out, "0") {
		x.t.Errorf("erase of no hash: %s", out)
	}
	x.seen("what was refused to be erased", "/a.txt", "state 2")
}

// operated: the operator's tools know the site, and count nothing of it.
func (x *storeWorld) operated() {
	x.t.Helper()
	run := func(args ...string) string {
		out, err := x.s.Perigee(within(x.t, long), args...)
		if err != nil {
			x.t.Errorf("%v: %v", args, err)
		}
		return out
	}
	// Edges fetch what nobody has told of; the catalogue has it when a listing has found it.
	eventually(x.t, "the catalogue lists both objects", func() bool {
		out := run("ls", "films:/")
		return strings.Contains(out, "/deep/er/b.txt") && strings.Contains(out, "/a.txt")
	})
	if out := run("gc"); strings.Contains(out, "deep") {
		x.t.Errorf("gc: %s", out)
	}
	if out := run("sites", "show", "films"); !strings.Contains(out, "second") || !strings.Contains(out, "not counted") {
		x.t.Errorf("sites show: %s", out)
	}
	var list struct {
		Sites []struct {
			Site  string
			Usage *struct{ Bytes int64 }
		}
	}
	ok(x.t, json.Unmarshal([]byte(run("sites", "--json")), &list))
	for _, s := range list.Sites {
		if (s.Usage == nil) != (s.Site == "films") {
			x.t.Errorf("usage of %s: %v", s.Site, s.Usage)
		}
	}
	eventually(x.t, "a listing has ended", func() bool {
		return strings.Contains(run("watches"), "films") && !strings.Contains(run("watches"), "no node")
	})
	if out, err := x.s.Perigee(within(x.t, long), "doctor"); !strings.Contains(out, "site films") || strings.Contains(out, "FAIL  site films") {
		x.t.Errorf("doctor: %s, %v", out, err)
	}
	x.seen("after gc", "/deep/er/b.txt", "b")
}
