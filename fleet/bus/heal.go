package bus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// healEvery is how often a server looks after its store.
	healEvery = 5 * time.Second
	// healRoom is how many bytes must be free before a store that failed is opened again.
	healRoom = 4 << 20
)

// Health is nil while the server can store entries: it stops to, for one, when its disk is full.
func (s *Server) Health() error {
	if h := s.ns.Healthz(&server.HealthzOptions{}); h.Status != "ok" {
		return fmt.Errorf("bus: %s: %s", h.Status, h.Error)
	}
	return nil
}

// watch opens the store again after an error of the disk, once the disk takes writes again. The NATS server does not: a
// stream that failed to write once refuses every message until its process ends, long after room has been made.
func (s *Server) watch(ctx context.Context) {
	ticker := s.cfg.Clock.NewTicker(healEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		trouble := s.Health()
		if trouble == nil {
			continue
		}
		if err := s.probe(); err != nil {
			s.cfg.Log.Error("the bus cannot store entries", "error", trouble, "disk", err)
			continue
		}
		if err := s.reopen(); err != nil {
			s.cfg.Log.Error("the bus cannot open its store again", "error", err, "before", trouble)
			continue
		}
		s.cfg.Log.Info("the bus has opened its store again", "before", trouble)
	}
}

// probe checks that the disk takes writes.
func (s *Server) probe() error {
	name := filepath.Join(s.cfg.StoreDir, "probe")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	defer f.Close()
	if _, err := f.Write(make([]byte, healRoom)); err != nil {
		return err
	}
	return f.Sync()
}

// reopen stops JetStream and starts it again; clients stay connected. What was not acknowledged may or may not be there
// afterwards, as after a crash.
func (s *Server) reopen() error {
	if err := s.ns.ShutdownJetStream(); err != nil {
		return err
	}
	opts, err := s.cfg.options()
	if err != nil {
		return err
	}
	if err := s.ns.EnableJetStream(&server.JetStreamConfig{
		StoreDir: opts.StoreDir, MaxStore: opts.JetStreamMaxStore, MaxMemory: opts.JetStreamMaxMemory,
		SyncAlways: opts.SyncAlways, Strict: true, CompressOK: true,
	}); err != nil {
		return err
	}
	return enableLog(s.ns)
}
