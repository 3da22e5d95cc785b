package silence

import (
	"io"
	"net"
	"testing"
	"time"

	"perigee/clock"
)

// stoppedClock shows the time it was set to.
type stoppedClock struct {
	clock.Clock
	now time.Time
}

func (c *stoppedClock) Now() time.Time { return c.now }

// tapedConn notes its deadlines.
type tapedConn struct {
	net.Conn
	read, write time.Time
}

func (c *tapedConn) Read([]byte) (int, error)           { return 0, io.EOF }
func (c *tapedConn) Write(p []byte) (int, error)        { return len(p), nil }
func (c *tapedConn) SetReadDeadline(t time.Time) error  { c.read = t; return nil }
func (c *tapedConn) SetWriteDeadline(t time.Time) error { c.write = t; return nil }
func (c *tapedConn) SetDeadline(t time.Time) error      { c.read, c.write = t, t; return nil }

// TestDeadlinesMove: each step has the whole limit for itself, so that a long body or a slow reader of it is no timeout; and a
// request on a pooled connection does not live off what is left of the last answer's.
func TestDeadlinesMove(t *testing.T) {
	now := &stoppedClock{now: time.Unix(1000, 0)}
	tape := &tapedConn{}
	c := Limit(tape, time.Minute, now)
	c.Read(nil)
	if want := time.Unix(1060, 0); tape.read != want || !tape.write.IsZero() {
		t.Fatalf("a read set %v and %v", tape.read, tape.write)
	}
	now.now = time.Unix(1050, 0)
	c.Write(nil)
	if want := time.Unix(1110, 0); tape.read != want || tape.write != want {
		t.Fatalf("a write set %v and %v", tape.read, tape.write)
	}
	now.now = time.Unix(2000, 0)
	c.Read(nil)
	if want := time.Unix(2060, 0); tape.read != want {
		t.Fatalf("a late read set %v", tape.read)
	}
}
