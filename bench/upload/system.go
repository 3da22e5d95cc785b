package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"perigee/bench/program"
)

// system is `perigee up` on a store, with the three edges of its defaults.
type system struct {
	store, dir, version string
	up, minio           *exec.Cmd
	api                 string // its URL
	s3                  s3Access
	storage             int // process of the store
}

// s3Access is how the store is reached without Perigee.
type s3Access struct{ Endpoint, Bucket, Access, Secret string }

const (
	startTime = time.Minute
	bucket    = "perigee"
	access    = "bench-access"
	secret    = "bench-secret-0123456789"
)

// minioBinary is where scripts/install-minio puts it; empty if it is not there.
func minioBinary() string {
	path := os.Getenv("PERIGEE_TEST_MINIO")
	if cache, err := os.UserCacheDir(); path == "" && err == nil {
		path = filepath.Join(cache, "perigee", "tools", "minio")
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// startSystem starts everything and waits until files can be published.
func startSystem(perigee, dir, store string) (_ *system, err error) {
	s := &system{store: store, dir: dir, version: program.FirstLine(perigee, "version")}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	addr, err := program.FreeAddr()
	if err != nil {
		return nil, err
	}
	s.s3 = s3Access{"http://" + addr, bucket, access, secret}
	sets := []string{
		"api.listen=127.0.0.1:0", "dns.listen=127.0.0.1:0", "admin.listen=", "bus.url=nats://127.0.0.1:0", "bus.listen=127.0.0.1:0",
		"storage.endpoint=" + s.s3.Endpoint, "storage.bucket=" + bucket, "storage.access_key=" + access, "storage.secret_key=" + secret,
	}
	if store == "minio" {
		sets = append(sets, "storage.edge_access_key="+access, "storage.edge_secret_key="+secret)
		if err := s.startMinIO(addr); err != nil {
			return nil, err
		}
	} else {
		sets = append(sets, "storage.embedded.listen="+addr)
	}
	port, err := edgePort()
	if err != nil {
		return nil, err
	}
	for i, name := range []string{"fra", "nyc", "sin"} {
		sets = append(sets, fmt.Sprintf("edges.%s.listen=127.0.1.%d:%d", name, i+1, port))
	}
	return s, s.startUp(perigee, append(sets, fmt.Sprintf("zone.port=%d", port)))
}

// edgePort returns a port that is free on the addresses of the three edges.
func edgePort() (int, error) {
	for range 100 {
		first, err := net.Listen("tcp", "127.0.1.1:0")
		if err != nil {
			return 0, err
		}
		port := first.Addr().(*net.TCPAddr).Port
		free := true
		for _, host := range []string{"127.0.1.2", "127.0.1.3"} {
			ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				free = false
				continue
			}
			ln.Close()
		}
		first.Close()
		if free {
			return port, nil
		}
	}
	return 0, errors.New("no port is free on 127.0.1.1, 127.0.1.2 and 127.0.1.3 alike")
}

// command is a command of the benchmark, which dies with it, with its output in a file.
func (s *system) command(log, name string, args ...string) (*exec.Cmd, error) {
	out, err := os.Create(filepath.Join(s.dir, log))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return c, c.Start()
}

func (s *system) startMinIO(addr string) (err error) {
	if err := os.Setenv("MINIO_ROOT_USER", access); err != nil {
		return err
	}
	if err := os.Setenv("MINIO_ROOT_PASSWORD", secret); err != nil {
		return err
	}
	s.minio, err = s.command("minio.log", minioBinary(), "server", "--quiet", "--address", addr, filepath.Join(s.dir, "minio"))
	if err != nil {
		return err
	}
	s.storage = s.minio.Process.Pid
	return await(func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			return err
		}
		return makeBucket(context.Background(), s.s3)
	})
}

func (s *system) startUp(perigee string, sets []string) (err error) {
	ready := filepath.Join(s.dir, "ready.json")
	args := []string{"up", "--data", filepath.Join(s.dir, "data"), "--ready-file", ready}
	for _, set := range sets {
		args = append(args, "--set", set)
	}
	if s.up, err = s.command("up.log", perigee, args...); err != nil {
		return err
	}
	var at struct {
		API     string `json:"api"`
		Storage int    `json:"storage_pid"`
	}
	err = await(func() error {
		b, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &at)
	})
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "up.log"))
		return fmt.Errorf("perigee up: %w; it says: %s", err, log)
	}
	s.api = "http://" + at.API
	if at.Storage > 0 {
		s.storage = at.Storage
	}
	return nil
}

// await calls f until it succeeds.
func await(f func() error) error {
	for until := time.Now().Add(startTime); ; time.Sleep(100 * time.Millisecond) {
		err := f()
		if err == nil || time.Now().After(until) {
			return err
		}
	}
}

// stop ends everything and removes what it has stored.
func (s *system) stop() {
	for _, c := range []*exec.Cmd{s.up, s.minio} {
		if c != nil && c.Process != nil {
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait()
		}
	}
	_ = os.RemoveAll(s.dir)
}

// processes are those whose memory is looked at.
func (s *system) processes() map[string]int {
	return map[string]int{"perigee up": s.up.Process.Pid, "storage": s.storage}
}

// resetPeaks makes the kernel forget the peaks so far, and returns what is resident now.
func (s *system) resetPeaks() map[string]int64 {
	now := map[string]int64{}
	for name, pid := range s.processes() {
		// Without the right to do so the peak is the one since the start, which is no less.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
		now[name] = status(pid, "VmRSS")
	}
	return now
}

// peaks returns the most that was resident since resetPeaks, and what of it is anonymous now.
func (s *system) peaks() []peak {
	var all []peak
	for _, name := range []string{"perigee up", "storage"} {
		pid := s.processes()[name]
		all = append(all, peak{store: s.store, process: name, resident: status(pid, "VmHWM"), atLeastOwn: status(pid, "RssAnon")})
	}
	return all
}

// status reads a size of /proc/PID/status, in bytes; 0 where there is none.
func status(pid int, field string) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if k, v, _ := strings.Cut(string(line), ":"); k == field {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
