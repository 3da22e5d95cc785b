package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"perigee/catalog/pgserver"
	"perigee/origin"
)

const (
	// rigKey is the API key of the rig.
	rigKey = "soak-key-0123456789-0123456789-0123456789"
	// rigHost is the host of its site.
	rigHost = "www.perigee.test"
	// clientSpeed is what one connection of a client carries, in bytes a second, so that an upload takes longer than a fault.
	clientSpeed = 4 << 20
)

// uploadRig is storage, bus, API and edge as processes of their own, and a PostgreSQL server if the catalogue is there. The lines from
// clients to the API, from API and edge to the storage, and from the API to PostgreSQL can be cut.
type uploadRig struct {
	dir, perigee, config string
	storage, api, edge   string // addresses
	buckets, data        *disk  // of the storage; of everything else
	clients, bucket      *line
	rows                 *line            // nil with SQLite
	postgres             *pgserver.Server // nil with SQLite
	addrs                map[string]string
	reader               *origin.Reader
	writer               *origin.Writer
	mu                   sync.Mutex
	roles                map[string]*running
	halted               atomic.Bool // nothing is waited for any more
	died                 error       // of a process that nobody had killed
}

// running is a process.
type running struct {
	cmd    *exec.Cmd
	done   chan struct{}
	killed bool
	serves bool
}

// newUploadRig starts everything.
func newUploadRig(perigee, database string) (r *uploadRig, err error) {
	dir, err := os.MkdirTemp("", "soak-up-")
	if err != nil {
		return nil, err
	}
	if perigee, err = filepath.Abs(perigee); err != nil {
		return nil, err
	}
	r = &uploadRig{dir: dir, perigee: perigee, config: filepath.Join(dir, "perigee.yaml"), storage: freeAddr(), api: freeAddr(), edge: freeAddr(), roles: map[string]*running{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close(false))
		}
	}()
	err = os.Chmod(dir, 0o711) // PostgreSQL runs as somebody else
	for _, name := range []string{"buckets", "data"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(dir, name), 0o711))
	}
	if err != nil {
		return r, err
	}
	r.buckets, r.data = newDisk(filepath.Join(dir, "buckets")), newDisk(filepath.Join(dir, "data"))
	if database == "postgres" {
		if err := r.startPostgres(); err != nil {
			return r, err
		}
	}
	if r.bucket, err = newLine("tcp", "127.0.0.1:0", r.storage, 0); err != nil {
		return r, err
	}
	if r.clients, err = newLine("tcp", "127.0.0.1:0", r.api, clientSpeed); err != nil {
		return r, err
	}
	if err := r.configure(); err != nil {
		return r, err
	}
	for _, role := range []string{"storage", "bus", "upload", "edge"} {
		if err := r.startRole(role); err != nil {
			return r, err
		}
	}
	return r, r.connect()
}

func (r *uploadRig) startPostgres() (err error) {
	r.postgres, err = pgserver.Start(context.Background(), pgserver.Config{Dir: filepath.Join(r.dir, "data", "pg"), Durable: true})
	if err != nil {
		return err
	}
	const socket = ".s.PGSQL.5432"
	far := filepath.Join(r.dir, "far") // where the API thinks that it is
	if err := os.Mkdir(far, 0o700); err != nil {
		return err
	}
	r.rows, err = newLine("unix", filepath.Join(far, socket), filepath.Join(r.postgres.Dir(), socket), 0)
	return err
}

// dsn leads to the PostgreSQL catalogue, past the line or over it; "" with SQLite.
func (r *uploadRig) dsn(overLine bool) string {
	if r.postgres == nil {
		return ""
	}
	dsn := r.postgres.DSN(pgserver.Database)
	if overLine {
		dsn = strings.Replace(dsn, r.postgres.Dir(), filepath.Join(r.dir, "far"), 1)
	}
	return dsn
}

// configure writes the configuration of all roles.
func (r *uploadRig) configure() error {
	bus, catalogue := freeAddr(), "{kind: sqlite}"
	if r.postgres != nil {
		catalogue = fmt.Sprintf(`{kind: postgres, dsn: "%s", connect_timeout: 10s}`, r.dsn(true))
	}
	r.addrs = map[string]string{"storage": r.storage, "bus": bus, "upload": r.api, "edge": r.edge}
	yaml := fmt.Sprintf(`
data: %s
api: {listen: "%s", key: %s}
catalog: %s
storage: {endpoint: "http://%s", access_key: soak-writer, secret_key: soak-writer-secret-0123456789, edge_access_key: soak-reader, edge_secret_key: soak-reader-secret-0123456789, embedded: {listen: "%s", root: "%s"}}
bus: {url: "nats://%s", listen: "%s"}
edges:
  - {name: soak, listen: "%s", cache_size: 300MB, ram: 32MiB, place: {name: Here, country: DE, lat: 50, lon: 8}}
`, filepath.Join(r.data.dir, "perigee"), r.api, rigKey, catalogue, r.bucket.addr(), r.storage, filepath.Join(r.buckets.dir, "s3"), bus, bus, r.edge)
	return os.WriteFile(r.config, []byte(yaml), 0o600)
}

// connect makes reader and writer of the bucket, past the line.
func (r *uploadRig) connect() (err error) {
	cfg := origin.Config{
		Endpoint: "http://" + r.storage, Bucket: "perigee", AccessKey: "soak-writer", SecretKey: "soak-writer-secret-0123456789", PathStyle: true,
		Log: slog.New(slog.DiscardHandler),
	}
	if r.reader, err = origin.NewReader(cfg); err == nil {
		r.writer, err = origin.NewWriter(context.Background(), cfg)
	}
	return err
}

// startRole starts a process and waits until it serves. One that ends before, because what it needs is not there yet, is started again, as
// whatever supervises it would do.
func (r *uploadRig) startRole(role string) error {
	for deadline := time.Now().Add(longPatience); ; time.Sleep(200 * time.Millisecond) {
		p, err := r.startOnce(role)
		if err != nil {
			return err
		}
		if p.awaitServing(r.addrs[role], deadline) {
			r.mu.Lock()
			p.serves = true
			r.mu.Unlock()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not come to serve:\n%s", role, r.lastLog(role))
		}
	}
}

func (r *uploadRig) startOnce(role string) (*running, error) {
	out, err := os.OpenFile(r.logFile(role), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	args := []string{role, "--config", r.config}
	if role == "edge" {
		args = append(args, "--name", "soak")
	}
	p := &running{cmd: exec.Command(r.perigee, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.roles[role] = p
	r.mu.Unlock()
	go r.watch(role, p)
	return p, nil
}

// awaitServing waits until the process listens; false if it ends, or does not come to it in time.
func (p *running) awaitServing(addr string, deadline time.Time) bool {
	for time.Now().Before(deadline) {
		select {
		case <-p.done:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return true
		}
	}
	return false
}

func (r *uploadRig) logFile(role string) string { return filepath.Join(r.dir, role+".log") }

// lastLog is the end of what a role has logged.
func (r *uploadRig) lastLog(role string) string {
	b, err := os.ReadFile(r.logFile(role))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-3000):])
}

// watch notes that a process ended that served and that nobody had killed.
func (r *uploadRig) watch(role string, p *running) {
	err := p.cmd.Wait()
	r.mu.Lock()
	if p.serves && !p.killed && r.died == nil {
		r.died = fmt.Errorf("%s has ended by itself (%v):\n%s", role, err, r.lastLog(role))
	}
	r.mu.Unlock()
	close(p.done)
}

// trouble returns why a process ended that nobody had killed, nil if none did.
func (r *uploadRig) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.died
}

// killRole is kill -9.
func (r *uploadRig) killRole(role string) {
	r.mu.Lock()
	p := r.roles[role]
	delete(r.roles, role)
	if p != nil {
		p.killed = true
		p.cmd.Process.Kill()
	}
	r.mu.Unlock()
	if p != nil {
		<-p.done
	}
}

// startDatabase starts PostgreSQL again. Right after a kill some process of the old server may not have ended yet.
func (r *uploadRig) startDatabase() error {
	for deadline := time.Now().Add(longPatience); ; time.Sleep(50 * time.Millisecond) {
		err := r.postgres.Start(context.Background())
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// mendDatabase starts PostgreSQL again if it has given up, as it does when its disk is full.
func (r *uploadRig) mendDatabase() error {
	for deadline := time.Now().Add(patience / 10); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := r.postgres.Exec(ctx, pgserver.Database, "SELECT 1")
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(r.postgres.Kill(), r.startDatabase())
		}
	}
}

// close ends everything. keep leaves the files, for a look at them.
func (r *uploadRig) close(keep bool) error {
	for _, l := range []*line{r.clients, r.bucket, r.rows} {
		if l != nil {
			l.close()
		}
	}
	for role := range r.addrs {
		r.killRole(role)
	}
	var errs []error
	if r.postgres != nil {
		errs = append(errs, r.postgres.Kill())
	}
	if keep {
		log.Printf("everything is left in %s; umount %s %s when you have looked at it", r.dir, r.buckets.dir, r.data.dir)
		return errors.Join(errs...)
	}
	for _, d := range []*disk{r.buckets, r.data} {
		if d != nil {
			errs = append(errs, d.close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// ask sends a request to the API, past the line, trying again for a while if it does not answer or says that it cannot now.
func (r *uploadRig) ask(method, path string, body []byte, headers ...string) (*http.Response, error) {
	for deadline := time.Now().Add(longPatience); ; time.Sleep(100 * time.Millisecond) {
		req, err := http.NewRequest(method, "http://"+r.api+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+rigKey)
		req.Header.Set("Tus-Resumable", "1.0.0")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := asker.Do(req)
		if err == nil && res.StatusCode != http.StatusLocked && res.StatusCode != http.StatusConflict && res.StatusCode < 500 || r.over(deadline) {
			return res, err
		}
		if err == nil {
			res.Body.Close()
		}
	}
}
