package lane

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// serveFallback gives every connection of ln to Fallback, until ctx ends or ln fails.
func (l *Lane) serveFallback(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			ln.Close()
			return fmt.Errorf("accept connection: %w", err)
		}
		calls.Go(func() { l.cfg.Fallback(c) })
	}
}
