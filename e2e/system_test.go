package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Addresses is what `perigee up --ready-file` writes when everything runs.
type Addresses struct {
	API     string            `json:"api"`
	DNS     string            `json:"dns"`
	Admin   string            `json:"admin"`
	S3      string            `json:"s3"`
	Bus     string            `json:"bus"`
	Edges   map[string]string `json:"edges"` // by node name
	Storage int               `json:"storage_pid"`
}

// System is one `perigee up`.
type System struct {
	Binary string // bin/perigee
	Dir    string // data directory
	Sets   []string
	Env    []string
	Addresses
	EdgePort int
	s3       string

	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
	err    error
}

// NewSystem prepares a system in dir; Start starts it. Its edges get one free port on 127.0.1.1 to 127.0.1.3, so that a URL is
// the same on each.
func NewSystem(binary, dir string) (*System, error) {
	port, err := freeEdgePort()
	if err != nil {
		return nil, err
	}
	storage, err := freePort()
	if err != nil {
		return nil, err
	}
	return &System{Binary: binary, Dir: dir, EdgePort: port, s3: storage}, nil
}

// freePort returns an address that is free now. The storage needs one that stays the same when it is started again.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func freeEdgePort() (int, error) {
	for range 50 {
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

// args returns the command line of `perigee up`.
func (s *System) args() []string {
	port := strconv.Itoa(s.EdgePort)
	args := []string{"up", "--data", s.Dir, "--ready-file", filepath.Join(s.Dir, "ready.json")}
	sets := append([]string{
		"api.listen=127.0.0.1:0", "dns.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0",
		"storage.endpoint=http://" + s.s3, "storage.embedded.listen=" + s.s3,
		"bus.url=nats://127.0.0.1:0", "bus.listen=127.0.0.1:0", "zone.port=" + port,
		"edges.fra.listen=127.0.1.1:" + port, "edges.nyc.listen=127.0.1.2:" + port, "edges.sin.listen=127.0.1.3:" + port,
	}, s.Sets...)
	for _, set := range sets {
		args = append(args, "--set", set)
	}
	return args
}

// Start starts the system and waits until it is ready.
func (s *System) Start(ctx context.Context) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	ready := filepath.Join(s.Dir, "ready.json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.log = log
	s.cmd = exec.Command(s.Binary, s.args()...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), s.Env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	err = s.await(ctx, "ready", func() bool {
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, &s.Addresses) == nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s.LogTail())
	}
	return nil
}

// await polls cond until it holds, the process exits or ctx ends.
func (s *System) await(ctx context.Context, what string, cond func() bool) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !cond() {
		select {
		case <-t.C:
		case <-s.exited:
			return fmt.Errorf("perigee up exited before it was %s: %v", what, s.err)
		case <-ctx.Done():
			return fmt.Errorf("perigee up is not %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// LogFile is where the process writes.
func (s *System) LogFile() string { return s.Dir + ".log" }

// LogTail returns the end of the log.
func (s *System) LogTail() string {
	b, _ := os.ReadFile(s.LogFile())
	return string(b[max(0, len(b)-4000):])
}

// Interrupt sends Ctrl-C and returns the exit code.
func (s *System) Interrupt(ctx context.Context) (int, error) {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return 0, err
	}
	select {
	case <-s.exited:
	case <-ctx.Done():
		return 0, fmt.Errorf("perigee up does not stop: %w\n%s", ctx.Err(), s.LogTail())
	}
	s.log.Close()
	return s.cmd.ProcessState.ExitCode(), nil
}

// Kill ends every process at once, as a power cut for processes would, and waits until they are gone.
func (s *System) Kill(ctx context.Context) error {
	pids := []int{s.cmd.Process.Pid}
	if s.Storage > 0 {
		pids = append(pids, s.Storage)
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.exited
	s.log.Close()
	return Gone(ctx, pids...)
}

// Gone waits until no process has one of the pids.
func Gone(ctx context.Context, pids ...int) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for _, pid := range pids {
		for alive(pid) {
			select {
			case <-t.C:
			case <-ctx.Done():
				return fmt.Errorf("process %d is still there: %w", pid, ctx.Err())
			}
		}
	}
	return nil
}

// alive reports whether a process exists that is no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(b, []byte(") "))
	return !ok || rest[0] != 'Z'
}

// URL returns an address of the API.
func (s *System) URL(path string) string { return "http://" + s.API + path }

// Perigee runs a command of the binary against this system and returns what it printed.
func (s *System) Perigee(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Env = append(append(os.Environ(), "PERIGEE_URL=http://"+s.API, "XDG_STATE_HOME="+filepath.Join(s.Dir, "state")), s.Env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("perigee %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// Answer is a response read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

var clients sync.Map // address -> *http.Client

// fetchClient returns a client that connects to addr whatever the URL's host is.
func fetchClient(addr string) *http.Client {
	if c, ok := clients.Load(addr); ok {
		return c.(*http.Client)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	c, _ := clients.LoadOrStore(addr, &http.Client{
		Timeout: 5 * time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, addr)
			},
			MaxIdleConnsPerHost: 32, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	return c.(*http.Client)
}

// Fetch asks the edge at addr for a URL, as a client would that DNS has given this address.
func Fetch(ctx context.Context, addr, url string, header ...string) (Answer, error) {
	return fetch(ctx, http.MethodGet, addr, url, header...)
}

func fetch(ctx context.Context, method, addr, url string, header ...string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return Answer{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(fetchClient(addr), req)
}

func do(c *http.Client, req *http.Request) (Answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: %w", req.Method, req.URL, err)
	}
	return Answer{resp.StatusCode, resp.Header, body}, nil
}
