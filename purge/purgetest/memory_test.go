package purgetest

import (
	"testing"
	"time"

	"perigee/clock"
)

func TestMemory(t *testing.T) {
	Suite(t, func(*testing.T) *Harness {
		m := NewMemory("r1")
		return &Harness{
			Region: "r1", Appender: m, Second: m, Follower: m, Clock: clock.System, Watch: 200 * time.Millisecond,
			Interrupt: func() func() {
				m.SetReachable(false)
				return func() { m.SetReachable(true) }
			},
			Compact: m.Compact, Remake: m.Remake, Truncate: m.Truncate, Rewrite: m.Rewrite, Inject: m.Inject,
		}
	})
}
