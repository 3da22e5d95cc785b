package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"perigee/clock"
)

// DefaultMaxStore is how many bytes a server keeps on disk unless its configuration says otherwise.
const DefaultMaxStore = 1 << 30

const (
	startWait  = 30 * time.Second // to recover a full store
	maxPayload = 1 << 20          // bytes of one message
	maxConns   = 10_000
	maxSubs    = 1_000 // per connection
)

// ServerConfig says how the embedded server runs.
type ServerConfig struct {
	// Listen is the TCP address "host:port"; port 0 takes a free one. Empty means no TCP: only clients of this
	// process, through ClientConfig.InProcess.
	Listen string
	// StoreDir holds the log. It belongs to one server at a time.
	StoreDir string
	// MaxStore bounds the bytes on disk; DefaultMaxStore when 0.
	MaxStore int64
	// Users are who may connect. Without any, everybody who reaches the server may do everything, which is
	// accepted on loopback only.
	Users []User
	Log   *slog.Logger
	Clock clock.Clock
}

// Server is a running NATS server with JetStream. Every stored entry is synced to disk before it is acknowledged.
type Server struct {
	cfg     ServerConfig
	ns      *server.Server
	lock    *os.File
	unwatch context.CancelFunc
	watched chan struct{} // closed when watch has returned
}

// Start starts a server and returns when it accepts clients.
func Start(cfg ServerConfig) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, lock: lock, unwatch: cancel, watched: make(chan struct{})}
	if err := s.start(); err != nil {
		close(s.watched)
		s.Shutdown()
		return nil, fmt.Errorf("start bus: %w", err)
	}
	go func() {
		defer close(s.watched)
		s.watch(ctx)
	}()
	return s, nil
}

// Run starts a server, calls ready, and shuts it down when ctx ends. It returns when everything has stopped; the error
// is nil if ctx was the reason.
func Run(ctx context.Context, cfg ServerConfig, ready func(*Server)) error {
	s, err := Start(cfg)
	if err != nil {
		return err
	}
	defer s.Shutdown()
	ready(s)
	stopped := make(chan struct{})
	go func() {
		s.ns.WaitForShutdown()
		close(stopped)
	}()
	select {
	case <-ctx.Done():
		s.Shutdown()
		<-stopped
		return nil
	case <-stopped:
		return errors.New("the bus stopped by itself; its log says why")
	}
}

// check looks up no names: one other than localhost counts as beyond loopback.
func (cfg *ServerConfig) check() error {
	if cfg.StoreDir == "" {
		return errors.New("start bus: no store directory is configured")
	}
	if cfg.Log == nil || cfg.Clock == nil {
		return errors.New("start bus: logger and clock must be configured")
	}
	if err := checkUsers(cfg.Users); err != nil {
		return fmt.Errorf("start bus: %w", err)
	}
	if cfg.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fmt.Errorf("start bus: address %q: %w", cfg.Listen, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("start bus: address %q: the port is not a number from 0 to 65535", cfg.Listen)
	}
	if len(cfg.Users) == 0 && !isLoopback(host) {
		return fmt.Errorf("start bus: %s is beyond loopback and no users are configured: "+
			"set the bus's users and passwords, or listen on 127.0.0.1", cfg.Listen)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// options is called after check.
func (cfg *ServerConfig) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName:             "perigee",
		DontListen:             true, // until the log can be served
		NoSigs:                 true,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               cfg.StoreDir,
		JetStreamMaxStore:      cfg.MaxStore,
		JetStreamMaxMemory:     16 << 20,
		SyncAlways:             true,
		MaxPayload:             maxPayload,
		MaxConn:                maxConns,
		MaxSubs:                maxSubs,
		PingInterval:           pingEvery,
		MaxPingsOut:            2,
	}
	if opts.JetStreamMaxStore == 0 {
		opts.JetStreamMaxStore = DefaultMaxStore
	}
	if cfg.Listen != "" {
		host, port, _ := net.SplitHostPort(cfg.Listen)
		opts.Host = host
		if opts.Port, _ = strconv.Atoi(port); opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
	}
	return opts, setAccounts(opts, cfg.Users)
}

func (s *Server) start() error {
	opts, err := s.cfg.options()
	if err != nil {
		return err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ns = ns
	log := &serverLog{log: s.cfg.Log}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := log.failure(); err != nil {
		return err
	}
	if !ns.ReadyForConnections(startWait) {
		return fmt.Errorf("not ready after %v", startWait)
	}
	if err := enableLog(ns); err != nil {
		return err
	}
	if s.cfg.Listen != "" {
		listening := make(chan struct{})
		ns.AcceptLoop(listening)
		<-listening
	}
	return log.failure()
}

// Addr is the TCP address clients reach the server at, nil when it does not listen.
func (s *Server) Addr() net.Addr { return s.ns.Addr() }

// URL is what ClientConfig.URL wants, empty when the server does not listen.
func (s *Server) URL() string {
	if a := s.Addr(); a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// InProcessConn connects to the server without a socket; it is what makes a Server fit for ClientConfig.InProcess.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// Shutdown disconnects every client, stops the server and waits for that. It may be called again.
func (s *Server) Shutdown() {
	s.unwatch()
	<-s.watched
	if s.ns != nil {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
	}
	s.lock.Close()
}
