package pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"perigee/edge/strict"
)

// The limits of a public listener.
const (
	headTimeout  = 10 * time.Second
	idleTimeout  = 2 * time.Minute
	maxHeadBytes = 32 << 10
)

// Serve answers requests on ln with h until ctx ends or ln fails, then lets those in progress finish for at most grace, and cuts off the rest. It closes ln.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, grace time.Duration, log *slog.Logger) error {
	base, cut := context.WithCancel(context.Background())
	defer cut()
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeadBytes,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return base },
	}
	accepting := make(chan error, 1)
	go func() { accepting <- s.Serve(strict.Listener{Listener: ln}) }()
	var broken error
	select {
	case err := <-accepting:
		broken = fmt.Errorf("serve pull site: %w", err)
		accepting <- nil
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := s.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		cut()
		err = s.Close()
	}
	<-accepting
	return errors.Join(broken, err)
}
