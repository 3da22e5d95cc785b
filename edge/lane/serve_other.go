//go:build !linux || !(amd64 || arm64)

package lane

import (
	"context"
	"net"
	"time"
)

// serve gives every connection to Fallback: the loops need epoll, and calls that package syscall lacks on other processors.
func (l *Lane) serve(ctx context.Context, ln net.Listener, _ time.Duration) error {
	return l.serveFallback(ctx, ln)
}
