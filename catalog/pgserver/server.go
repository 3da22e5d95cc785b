package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"perigee/clock"
)

// Config says how a server is to be.
type Config struct {
	// Dir is where it keeps everything; made if missing, in the system's temporary directory when empty. The path of a
	// Unix socket has at most 107 bytes, so this one has at most 80.
	Dir string
	// Bin is the directory of initdb and postgres; that of Find when empty.
	Bin string
	// Durable makes the server sync its disk: for tests that crash it.
	Durable bool
	// Settings are lines of postgresql.conf in place of ours.
	Settings map[string]string
}

// User is the superuser of every server, and Database a database that each has.
const (
	User     = "perigee"
	Database = "postgres"
)

const (
	maxDir = 80
	port   = 5432 // of a socket: part of a file's name
	// startTime is how long a server may take until it accepts connections.
	startTime = time.Minute
	pollEvery = 20 * time.Millisecond
)

// Find returns the directory of PostgreSQL's programs: where $PERIGEE_PG_BIN says, else Debian's newest version, else that
// of initdb in the path. The error wraps fs.ErrNotExist and says what to install.
func Find() (string, error) {
	if dir := os.Getenv("PERIGEE_PG_BIN"); dir != "" {
		return dir, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(found[len(found)-1]), nil
	}
	if file, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(file), nil
	}
	return "", fmt.Errorf("PostgreSQL is not installed (apt-get install postgresql): %w", fs.ErrNotExist)
}

// version reads the number in /usr/lib/postgresql/15/bin/initdb.
func version(path string) (v int) {
	for _, part := range strings.Split(path, "/") {
		if _, err := fmt.Sscanf(part, "%d", &v); err == nil {
			return v
		}
	}
	return 0
}

// Server is one PostgreSQL server.
type Server struct {
	cfg      Config
	owner    *syscall.Credential // whom the programs run as; nil is us
	replicas int
	process  *os.Process // nil while it does not run
	ended    chan struct{}
}

// Start makes a database cluster in cfg.Dir and starts its server, a primary that replicas can follow. It returns when the
// server accepts connections. End it with Stop or Remove.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	err = s.program(ctx, "initdb", "--pgdata="+s.data(), "--username="+User, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
		"--locale-provider=icu", "--icu-locale=en-US", "--no-sync", "--no-instructions")
	if err == nil {
		err = s.configure()
	}
	if err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), s.Remove())
	}
	return s, nil
}

// Replica makes a copy of s beside it and starts it as a streaming replica, which answers reads. Its life is its own: s may
// be killed and started again.
func (s *Server) Replica(ctx context.Context) (*Server, error) {
	s.replicas++
	cfg := s.cfg
	cfg.Dir = fmt.Sprintf("%s-r%d", s.cfg.Dir, s.replicas)
	r, err := newServer(cfg)
	if err != nil {
		return nil, fmt.Errorf("start replica: %w", err)
	}
	err = r.program(ctx, "pg_basebackup", "--pgdata="+r.data(), "--dbname="+s.DSN(Database), "--write-recovery-conf", "--wal-method=stream",
		"--checkpoint=fast", "--no-sync")
	if err == nil {
		err = r.configure()
	}
	if err == nil {
		err = r.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start replica: %w", err), r.Remove())
	}
	return r, nil
}

func newServer(cfg Config) (s *Server, err error) {
	if cfg.Bin == "" {
		if cfg.Bin, err = Find(); err != nil {
			return nil, err
		}
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "pg"); err != nil {
			return nil, err
		}
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	if len(cfg.Dir) > maxDir {
		return nil, fmt.Errorf("the path %s is too long for the socket in it, give one of at most %d bytes", cfg.Dir, maxDir)
	}
	s = &Server{cfg: cfg}
	if s.owner, err = owner(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if s.owner != nil {
		return s, os.Chown(cfg.Dir, int(s.owner.Uid), int(s.owner.Gid))
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.cfg.Dir, "data") }

// Dir returns the directory of the server's socket: the host of a connection to it.
func (s *Server) Dir() string { return s.cfg.Dir }

// DSN returns the connection string of one of its databases.
func (s *Server) DSN(database string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return fmt.Sprintf("host='%s' port=%d user=%s dbname='%s'", quote.Replace(s.cfg.Dir), port, User, quote.Replace(database))
}

// program runs one of PostgreSQL's programs to its end.
func (s *Server) program(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.Bin, name), args...)
	cmd.Dir, cmd.Env = s.cfg.Dir, environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// environment is that of the programs: nothing of ours, whose PGHOST and the like would lead them astray.
func environment() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"} }

// configure writes postgresql.conf anew.
func (s *Server) configure() error {
	settings := map[string]string{
		"listen_addresses": "''", "unix_socket_directories": "'" + s.cfg.Dir + "'", "port": fmt.Sprint(port),
		"max_connections": "200", "shared_buffers": "32MB", "jit": "off", "timezone": "UTC", "log_line_prefix": "'%m [%p] '",
		"wal_level": "replica", "max_wal_senders": "10", "wal_keep_size": "256MB", "hot_standby": "on",
		"wal_retrieve_retry_interval": "100ms", "wal_receiver_status_interval": "1s",
		"lc_messages": "'C'",
	}
	if !s.cfg.Durable {
		settings["fsync"], settings["full_page_writes"] = "off", "off"
	}
	for k, v := range s.cfg.Settings {
		settings[k] = v
	}
	var text strings.Builder
	for k, v := range settings {
		fmt.Fprintf(&text, "%s = %s\n", k, v)
	}
	return os.WriteFile(filepath.Join(s.data(), "postgresql.conf"), []byte(text.String()), 0o644)
}

// Start starts the server again after Stop or Kill, and returns when it accepts connections.
func (s *Server) Start(ctx context.Context) error {
	if s.process != nil {
		return errors.New("start PostgreSQL: it is running")
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.cfg.Bin, "postgres"), "-D", s.data())
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.cfg.Dir, environment(), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Pdeathsig: syscall.SIGQUIT}
	ended, started := make(chan struct{}), make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread ends that started the process, so this one stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands in its log
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.process, s.ended = cmd.Process, ended
	if err := s.awaitReady(ctx); err != nil {
		return errors.Join(fmt.Errorf("start PostgreSQL: %w", err), s.Kill())
	}
	return nil
}

func (s *Server) logFile() string { return filepath.Join(s.cfg.Dir, "log") }

// awaitReady waits until the server's own note says that it accepts connections.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	poll := clock.System.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case <-s.ended:
			s.process = nil
			return fmt.Errorf("it ended: %s", s.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("it does not get ready: %w: %s", ctx.Err(), s.lastLog())
		case <-poll.C():
		}
		note, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
		if err != nil {
			continue // not written yet
		}
		lines := strings.Split(string(note), "\n")
		if len(lines) > 7 && lines[0] == fmt.Sprint(s.process.Pid) && strings.TrimSpace(lines[7]) == "ready" {
			return nil
		}
	}
}

// lastLog is the end of the server's log.
func (s *Server) lastLog() string {
	b, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// Stop ends the server in order, whoever is connected. One that does not run is no error.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	late := clock.System.NewTimer(startTime)
	defer late.Stop()
	select {
	case <-s.ended:
		s.process = nil
		return nil
	case <-late.C():
		return errors.Join(fmt.Errorf("stop PostgreSQL: it took longer than %v and was killed: %s", startTime, s.lastLog()), s.Kill())
	}
}

// Kill ends every process of the server at once, as kill -9 of all of them does. One that does not run is no error.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	children := childrenOf(s.process.Pid)
	if err := s.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with its parent
	}
	<-s.ended
	s.process = nil
	return nil
}

// Remove stops the server and deletes its directory.
func (s *Server) Remove() error {
	err := s.Stop()
	if rerr := os.RemoveAll(s.cfg.Dir); rerr != nil {
		err = errors.Join(err, fmt.Errorf("remove PostgreSQL: %w", rerr))
	}
	return err
}
