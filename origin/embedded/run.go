package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const (
	region = "us-east-1"
	// maxConns bounds connections and requests alike; beyond it the server answers 503.
	maxConns = 4096
	maxParts = 10000
	// portTries is how often another free port is tried when the one just found was taken.
	portTries = 10
)

// Run serves cfg.Root until ctx ends, then finishes the requests under way (for 10 s at most) and returns nil. It calls ready
// once, with the address, when requests are answered. It changes the process's working directory, standard output and
// standard error: there can be one Run in a process, and nothing else that cares.
//
// It refuses, with an error that says what to do, a directory that cannot be written, one that another process serves, one
// whose metadata was lost in copying, and an address that is taken.
func Run(ctx context.Context, cfg Config, ready func(addr string)) (err error) {
	cfg, err = cfg.completed()
	if err != nil {
		return err
	}
	lock, err := openRoot(ctx, cfg.Root, cfg.Clock)
	if err != nil {
		return err
	}
	defer lock.Close()
	users := newAccounts(cfg)
	rules, err := policies(cfg, users)
	if err != nil {
		return err
	}
	stray, err := catchStray(cfg.Log)
	if err != nil {
		return err
	}
	defer stray.release()
	s, err := newStore(cfg.Root, rules, cfg.Clock.Now())
	if err != nil {
		return err
	}
	defer s.Shutdown()
	if err := s.prepare(ctx, cfg); err != nil {
		return err
	}
	return serve(ctx, cfg, s, users, ready)
}

// prepare makes the data directory fit to be served.
func (s *store) prepare(ctx context.Context, cfg Config) error {
	if s.kind == inSidecar {
		cfg.Log.Warn("the file system has no extended attributes: metadata goes to sidecar files,"+
			" and replacing an object is not atomic across a crash", "root", cfg.Root)
	}
	n, err := s.recoverUploads()
	if err != nil {
		return err
	}
	if n > 0 {
		cfg.Log.Info("reopened uploads whose completion was interrupted", "uploads", n)
	}
	if err := s.ensureBucket(ctx, cfg.Bucket, cfg.RootAccess); err != nil {
		return err
	}
	return errors.Join(s.fsync(s.root), s.fsync(cfg.Root))
}

// serve finds the port, when any will do, and serves it. The server makes its own listener and does not tell its port, so that a
// free one is found first and may be taken by somebody else in between.
func serve(ctx context.Context, cfg Config, s *store, users accounts, ready func(string)) error {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fmt.Errorf("storage address %q: %w", cfg.Listen, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		cfg.Log.Warn("storage listens beyond loopback, without TLS: keep it on a private network", "addr", cfg.Listen)
	}
	if port != "0" {
		return serveAddr(ctx, cfg, s, users, cfg.Listen, ready)
	}
	for range portTries {
		var addr string
		if addr, err = freeAddr(host); err != nil {
			return err
		}
		if err = serveAddr(ctx, cfg, s, users, addr, ready); !errors.Is(err, errTaken) {
			return err
		}
	}
	return err
}

func freeAddr(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", host, err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// errTaken marks an address that somebody else listens on.
var errTaken = errors.New("another program uses the address; stop that one or choose another")

func serveAddr(ctx context.Context, cfg Config, s *store, users accounts, addr string, ready func(string)) error {
	if err := checkFree(addr); err != nil {
		return err
	}
	listening := make(chan struct{})
	srv, err := s3api.New(s, middlewares.RootUserConfig{Access: cfg.RootAccess, Secret: cfg.RootSecret},
		region, users, nil, nil, cfg.events(), nil,
		s3api.WithQuiet(),
		s3api.WithKeepAlive(),
		s3api.WithDisableACL(),
		s3api.WithMpMaxParts(maxParts),
		s3api.WithConcurrencyLimiter(maxConns, maxConns),
		s3api.WithMiddleware("/", finish(cfg.Log, cfg.Clock)),
		s3api.WithOnListen(func() { close(listening) }),
	)
	if err != nil {
		return fmt.Errorf("start storage: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeMultiPort([]string{addr}) }()
	select {
	case err := <-ended:
		return fmt.Errorf("listen on %s: %w", addr, err)
	case <-listening:
	}
	cfg.Log.Info("storage is ready", "addr", addr, "root", cfg.Root, "metadata", string(s.kind))
	ready(addr)
	select {
	case err := <-ended:
		return fmt.Errorf("storage on %s ended: %w", addr, err)
	case <-ctx.Done():
		return stop(cfg, srv, ended)
	}
}

// checkFree finds out whether addr can be listened on, for a better message than the server has.
func checkFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w", addr, errTaken)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l.Close()
}

// stop ends the server and waits. It asks more than once: between saying that it listens and serving there is a moment in
// which the server does not hear.
func stop(cfg Config, srv *s3api.S3ApiServer, ended <-chan error) error {
	retry := cfg.Clock.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		if err := srv.ShutDown(); err != nil {
			cfg.Log.Warn("storage stops with requests under way", "err", err)
			return nil
		}
		select {
		case <-ended: // with an error that says that the listener was closed
			return nil
		case <-retry.C():
		}
	}
}
