package bus

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"perigee/purge"
	"perigee/purge/purgetest"
)

// limitFiles makes every write of the server beyond bytes of a file fail, as a full disk does.
func limitFiles(t *testing.T, c *child, bytes uint64) {
	t.Helper()
	limit := unix.Rlimit{Cur: bytes, Max: math.MaxUint64}
	if err := unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFull: appends fail while the disk takes nothing and work again afterwards, with the server running all the
// time, nothing lost and no follower reset.
func TestDiskFull(t *testing.T) {
	server := startChild(t, "127.0.0.1:0", t.TempDir())
	url := "nats://" + server.addr
	l := connect(t, ClientConfig{URL: url}).Log(LogConfig{})
	if err := l.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sink collector
	follow(t, connect(t, ClientConfig{URL: url}).Log(LogConfig{}), purge.Position{}, &sink)
	limitFiles(t, server, 64<<10)
	n := 0
	for ; ; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := l.Append(ctx, purgetest.NewEntry(fmt.Sprint(n)))
		cancel()
		if err != nil {
			break
		}
		if n > 1000 {
			t.Fatal("the limit on files has no effect")
		}
	}
	limitFiles(t, server, math.MaxUint64)
	eventually(t, "an Append to succeed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := l.Append(ctx, purgetest.NewEntry(fmt.Sprint(n)))
		return err == nil
	})
	if _, err := l.Append(t.Context(), purgetest.NewEntry("last")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every entry", sink.see(func() bool { return len(sink.ids) >= n+2 }))
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if len(sink.ids) != n+2 || sink.ids[n] != fmt.Sprint(n) || len(sink.resets) > 0 {
		t.Errorf("%d entries, want %d; resets %v", len(sink.ids), n+2, sink.resets)
	}
}
