package tap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"perigee/clock"
)

var quiet = slog.New(slog.DiscardHandler)

// A query for www.perigee.test. A, and an answer with one address.
var (
	query    = []byte("\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07perigee\x04test\x00\x00\x01\x00\x01")
	response = []byte("\x12\x34\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07perigee\x04test\x00\x00\x01\x00\x01" +
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x14\x00\x04\x7f\x00\x01\x01")
	zone = []byte("\x07perigee\x04test\x00")
)

func exchange() *Exchange {
	at := time.Date(2026, 11, 26, 12, 0, 0, 42_000_007, time.UTC)
	return &Exchange{
		Client: netip.MustParseAddrPort("192.0.2.1:5353"), Server: netip.MustParseAddrPort("127.0.0.1:53"), Transport: UDP, Zone: zone,
		Query: query, QueryTime: at, Response: response, ResponseTime: at.Add(21 * time.Microsecond),
	}
}

// fields decodes a protobuf message by its own means: values by field number, numbers as uint64, bytes as []byte.
func fields(t testing.TB, b []byte) map[protowire.Number]any {
	t.Helper()
	out := map[protowire.Number]any{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("tag: %v", protowire.ParseError(n))
		}
		b = b[n:]
		if _, twice := out[num]; twice {
			t.Fatalf("field %d is there twice", num)
		}
		switch typ {
		case protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(b)
			out[num] = v
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			out[num] = uint64(v)
		case protowire.BytesType:
			var v []byte
			v, n = protowire.ConsumeBytes(b)
			out[num] = v
		default:
			t.Fatalf("field %d has wire type %d", num, typ)
		}
		if n < 0 {
			t.Fatalf("field %d: %v", num, protowire.ParseError(n))
		}
		b = b[n:]
	}
	return out
}

func TestMessage(t *testing.T) {
	x := exchange()
	v6 := exchange()
	v6.Client, v6.Server, v6.Transport = netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:65535"), DoQ
	mapped := exchange()
	mapped.Client = netip.MustParseAddrPort("[::ffff:192.0.2.1]:5353")
	bare := &Exchange{Transport: TCP, Query: nil, Response: bytes.Repeat([]byte{7}, 70_000)}
	mixed := exchange()
	mixed.Server = netip.MustParseAddrPort("[::1]:53")
	sec, nsec := uint64(x.QueryTime.Unix()), uint64(42_000_007)
	type want = map[protowire.Number]any
	for _, c := range []struct {
		name string
		kind uint64
		x    *Exchange
		want want
	}{
		{"query", authQuery, x, want{1: uint64(1), 2: uint64(1), 3: uint64(1), 4: []byte{192, 0, 2, 1}, 5: []byte{127, 0, 0, 1}, 6: uint64(5353), 7: uint64(53),
			8: sec, 9: nsec, 10: query, 11: zone}},
		{"response", authResponse, x, want{1: uint64(2), 2: uint64(1), 3: uint64(1), 4: []byte{192, 0, 2, 1}, 5: []byte{127, 0, 0, 1}, 6: uint64(5353), 7: uint64(53),
			8: sec, 9: nsec, 11: zone, 12: sec, 13: nsec + 21_000, 14: response}},
		{"IPv6", authQuery, v6, want{1: uint64(1), 2: uint64(2), 3: uint64(7), 4: netip.MustParseAddr("2001:db8::1").AsSlice(),
			5: netip.MustParseAddr("2001:db8::2").AsSlice(), 6: uint64(1), 7: uint64(65535), 8: sec, 9: nsec, 10: query, 11: zone}},
		{"mapped", authQuery, mapped, want{1: uint64(1), 2: uint64(1), 3: uint64(1), 4: []byte{192, 0, 2, 1}, 5: []byte{127, 0, 0, 1}, 6: uint64(5353), 7: uint64(53),
			8: sec, 9: nsec, 10: query, 11: zone}},
		{"two families", authQuery, mixed, want{1: uint64(1), 2: uint64(1), 3: uint64(1), 4: []byte{192, 0, 2, 1}, 6: uint64(5353), 8: sec, 9: nsec, 10: query, 11: zone}},
		{"nothing known", authQuery, bare, want{1: uint64(1), 3: uint64(2), 10: []byte{}}},
		{"too long", authResponse, bare, want{1: uint64(2), 3: uint64(2), 14: bare.Response[:65535]}},
	} {
		frame := appendFrame([]byte("before"), appendHead(nil, "ns1", "perigee 1"), c.kind, c.x)[len("before"):]
		if got := int(binary.BigEndian.Uint32(frame)); got != len(frame)-4 {
			t.Fatalf("%s: a frame of %d bytes says %d", c.name, len(frame)-4, got)
		}
		top := fields(t, frame[4:])
		message, _ := top[14].([]byte)
		if fmt.Sprint(top[1], top[2], top[15], len(top)) != fmt.Sprint([]byte("ns1"), []byte("perigee 1"), 1, 4) {
			t.Errorf("%s: %v", c.name, top)
		}
		if got := fields(t, message); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v\nwant %v", c.name, got, c.want)
		}
	}
}

// FuzzMessage: whatever is told, each length is right and every byte comes back.
func FuzzMessage(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, []byte{}, uint16(53), uint8(1), int64(1), query, response, zone, "ns1")
	f.Add(make([]byte, 16), []byte{1, 2, 3, 4}, uint16(0), uint8(255), int64(-1<<62), []byte{}, make([]byte, 200), []byte{}, "")
	f.Fuzz(func(t *testing.T, client, server []byte, port uint16, transport uint8, at int64, q, r, z []byte, identity string) {
		c, _ := netip.AddrFromSlice(client)
		s, _ := netip.AddrFromSlice(server)
		x := &Exchange{Client: netip.AddrPortFrom(c, port), Server: netip.AddrPortFrom(s, port), Transport: Transport(transport), Zone: z,
			Query: q, Response: r, QueryTime: time.Unix(0, at), ResponseTime: time.Unix(at, 0)}
		for kind, message := range map[uint64][]byte{authQuery: q, authResponse: r} {
			frame := appendFrame(nil, appendHead(nil, identity, ""), kind, x)
			got := fields(t, fields(t, frame[4:])[14].([]byte))
			field := protowire.Number(map[uint64]int{authQuery: 10, authResponse: 14}[kind])
			if !bytes.Equal(got[field].([]byte), message) || got[1] != kind || got[3] != uint64(transport) {
				t.Fatalf("%v", got)
			}
		}
	})
}

// FuzzAccept: nothing that a collector sends makes us panic, or read without bound.
func FuzzAccept(f *testing.F) {
	f.Add(appendControl(nil, controlAccept, contentType))
	f.Add(appendControl(nil, controlAccept, ""))
	f.Add(appendControl(nil, controlFinish, "protobuf:other"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		fields, err := readControl(r, controlAccept)
		if err == nil && accepts(fields) == nil && len(fields) > 0 && !bytes.Contains(b, []byte(contentType)) {
			t.Fatalf("%q was accepted", b)
		}
		if len(b)-r.Len() > 8+maxControl {
			t.Fatal("read too far")
		}
	})
}

func TestAccepts(t *testing.T) {
	field := func(b []byte, kind uint32, content string) []byte {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, kind), uint32(len(content)))
		return append(b, content...)
	}
	for _, c := range []struct {
		fields []byte
		want   string
	}{
		{nil, ""},
		{field(nil, 1, contentType), ""},
		{field(field(nil, 1, "protobuf:other"), 1, contentType), ""},
		{field(nil, 1, "protobuf:other"), "configure it for dnstap"},
		{field(nil, 2, contentType), "does not have"},
		{field(nil, 1, contentType)[:20], "does not have"},
		{[]byte{0}, "half a field"},
	} {
		if err := accepts(c.fields); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v, want %q", c.fields, err, c.want)
		}
	}
}

// collector is the other side, written from the description of Frame Streams and not from what we send.
type collector struct {
	t      testing.TB
	frames [][]byte
}

func (c *collector) control(conn io.Reader, want string) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

const (
	ready  = "\x00\x00\x00\x00\x00\x00\x00\x22\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x16protobuf:dnstap.Dnstap"
	accept = "\x00\x00\x00\x00\x00\x00\x00\x22\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x16protobuf:dnstap.Dnstap"
	begin  = "\x00\x00\x00\x00\x00\x00\x00\x22\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x16protobuf:dnstap.Dnstap"
	end    = "\x00\x00\x00\x04\x00\x00\x00\x03" // behind the escape
	finish = "\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x05"
)

func (c *collector) greet(conn net.Conn) error {
	if err := c.control(conn, ready); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, accept); err != nil {
		return err
	}
	return c.control(conn, begin)
}

// collect reads frames until the stream is stopped, or until it has n of them, if n is not 0.
func (c *collector) collect(conn io.Reader, n int) error {
	for n == 0 || len(c.frames) < n {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return err
		}
		if size == [4]byte{} {
			if err := c.control(conn, end); err != nil {
				return err
			}
			if w, ok := conn.(io.Writer); ok {
				if _, err := io.WriteString(w, finish); err != nil {
					return err
				}
			}
			return nil
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			return err
		}
		c.frames = append(c.frames, frame)
	}
	return nil
}

// run runs a tap until stop.
func run(t testing.TB, tap *Tap) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tap.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func mustOpen(t testing.TB, cfg Config) *Tap {
	t.Helper()
	cfg.Clock, cfg.Log = clock.System, quiet
	tap, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

// All that is told reaches the collector, whole, and from each core in order, with STOP answered by FINISH.
func TestSocket(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		at := "127.0.0.1:0"
		if network == "unix" {
			at = filepath.Join(t.TempDir(), "tap.sock")
		}
		l, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		c, collected := &collector{t: t}, make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				err = errors.Join(c.greet(conn), c.collect(conn, 0), conn.Close())
			}
			collected <- err
		}()
		tap := mustOpen(t, Config{Socket: l.Addr().String(), Identity: "ns1", Version: "perigee"})
		stop := run(t, tap)
		for !tap.Connected() { // what is told before that is lost, as it should be
			time.Sleep(time.Millisecond)
		}
		const cores, each = 3, 1000
		var wg sync.WaitGroup
		for core := range cores {
			wg.Go(func() {
				for i := range each {
					x := exchange()
					x.Client = netip.AddrPortFrom(x.Client.Addr(), uint16(core))
					x.QueryTime = time.Unix(int64(i), 0)
					tap.Query(core, x)
					tap.Response(core, x)
				}
			})
		}
		wg.Wait()
		stop()
		if err := <-collected; err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		l.Close()
		var next [cores]uint64
		for _, f := range c.frames {
			m := fields(t, fields(t, f)[14].([]byte))
			core, at := m[6].(uint64), m[8].(uint64)
			if at*2+m[1].(uint64)-1 != next[core] {
				t.Fatalf("%s: core %d: query %d, kind %d out of order", network, core, at, m[1])
			}
			next[core]++
		}
		if len(c.frames) != cores*each*2 || tap.Written() != cores*each*2 || tap.Dropped() != 0 || tap.Connections() != 1 || tap.Connected() {
			t.Errorf("%s: %d frames, %d written, %d dropped, %d connections", network, len(c.frames), tap.Written(), tap.Dropped(), tap.Connections())
		}
	}
}

// A collector that stops reading costs messages and nothing else: nobody waits, and what was not sent is counted.
func TestSlowCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, release, left := &collector{t: t}, make(chan struct{}), make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = c.greet(conn)
			<-release
			conn.Close()
		}
		left <- err
	}()
	tap := mustOpen(t, Config{Socket: l.Addr().String()})
	stop := run(t, tap)
	x := exchange()
	x.Response = make([]byte, 1232)
	told := int64(0)
	for tap.Dropped() == 0 { // returns although nobody reads
		tap.Response(0, x)
		if told++; told > 1e6 {
			t.Fatal("where are they kept?")
		}
	}
	close(release)
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	stop()
	if tap.Written()+tap.Dropped() != told {
		t.Errorf("%d written and %d dropped of %d", tap.Written(), tap.Dropped(), told)
	}
}

// A collector that is not there, does not speak, speaks something else, goes away and comes back.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := mustOpen(t, Config{Socket: "collector.test:6000"})
		var mu sync.Mutex
		var dials []time.Time
		conns := make(chan net.Conn, 1)
		var there atomic.Bool
		tap.socket.dial = func(context.Context, string, string) (net.Conn, error) {
			if !there.Load() {
				mu.Lock()
				defer mu.Unlock()
				dials = append(dials, time.Now())
				return nil, errors.New("connection refused")
			}
			ours, theirs := net.Pipe()
			conns <- theirs
			return ours, nil
		}
		stop := run(t, tap)
		tell := func() {
			tap.Query(0, exchange())
			time.Sleep(every)
			synctest.Wait()
		}
		for range 5 * 60 * 5 { // five minutes
			tell()
		}
		mu.Lock()
		if tap.Dropped() != 5*60*5 || tap.Connected() || len(dials) < 7 || len(dials) > 12 {
			t.Fatalf("%d dropped, %d tries", tap.Dropped(), len(dials))
		}
		for i := 1; i < len(dials)-1; i++ {
			if pause := dials[i].Sub(dials[i-1]); pause < min(firstPause<<(i-1), lastPause) || pause > lastPause*3/2+every {
				t.Errorf("try %d after %v", i, pause)
			}
		}

		mu.Unlock()
		there.Store(true)
		for _, bad := range []string{"", "HTTP/1.1 400 Bad Request\r\n\r\n", finish, strings.Replace(accept, "dnstap", "xxxxxx", 1)} {
			go func() {
				conn := <-conns
				c := &collector{t: t}
				if err := c.control(conn, ready); err != nil {
					t.Error(err)
				}
				if bad == "" { // says nothing: patience ends
					time.Sleep(2 * patience)
				} else {
					io.WriteString(conn, bad)
				}
				conn.Close()
			}()
			time.Sleep(3 * lastPause)
			synctest.Wait()
			if tap.Connected() || tap.Connections() != 0 {
				t.Fatalf("%q was taken for a collector", bad)
			}
			// The tries that followed found nobody who accepts: let them go.
			for len(conns) > 0 {
				(<-conns).Close()
			}
			synctest.Wait()
		}

		for turn := range 2 {
			c, collected := &collector{t: t}, make(chan error, 1)
			go func() {
				conn := <-conns
				for c.greet(conn) != nil { // one that was given up meanwhile
					conn = <-conns
				}
				err := c.collect(conn, 3)
				if turn == 1 {
					err = errors.Join(err, c.collect(conn, 0))
				}
				collected <- errors.Join(err, conn.Close())
			}()
			for !tap.Connected() || tap.Connections() != int64(turn)+1 {
				time.Sleep(every)
				synctest.Wait()
				tell()
			}
			for range 3 {
				tell()
			}
			if turn == 1 {
				stop()
			}
			if err := <-collected; err != nil || len(c.frames) < 3 {
				t.Fatalf("turn %d: %v, %d frames", turn, err, len(c.frames))
			}
		}
	})
}

func TestFileIsReadByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queries.fstrm")
	tap := mustOpen(t, Config{File: path, Identity: "ns1.perigee.test", Version: "perigee"})
	stop := run(t, tap)
	for i := range 3 {
		tap.Query(i, exchange())
		x := exchange()
		x.Client, x.Server, x.Transport = netip.MustParseAddrPort("[2001:db8::1]:5353"), netip.MustParseAddrPort("[2001:db8::53]:53"), TCP
		tap.Response(i, x)
	}
	stop()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{t: t}
	rest, ok := bytes.CutPrefix(b, []byte(begin))
	if !ok {
		t.Fatalf("begins with %q", b[:min(len(b), 50)])
	}
	if err := c.collect(struct{ io.Reader }{bytes.NewReader(rest)}, 0); err != nil || len(c.frames) != 6 || tap.Written() != 6 {
		t.Fatalf("%v, %d frames, %d written", err, len(c.frames), tap.Written())
	}
	for tool, want := range map[string][]string{
		"dnstap-read": {"AQ 192.0.2.1:5353 -> 127.0.0.1:53 UDP 34b www.perigee.test/IN/A", "AR 2001:db8::1:5353 <- 2001:db8::53:53 TCP 50b www.perigee.test/IN/A"},
		"dnstap-ldns": {"12:00:00.042000 AQ 192.0.2.1 UDP 34b \"www.perigee.test.\" IN A", "12:00:00.042021 AR 2001:db8::1 TCP 50b \"www.perigee.test.\" IN A"},
	} {
		t.Run(tool, func(t *testing.T) {
			program, err := exec.LookPath(tool)
			if err != nil {
				t.Skipf("%s is not installed", tool)
			}
			args := []string{path}
			if tool == "dnstap-ldns" {
				args = []string{"-q", "-r", path}
			}
			out, err := exec.Command(program, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, line := range want {
				if strings.Count(string(out), line) != 3 {
					t.Errorf("%s does not print %q three times:\n%s", tool, line, out)
				}
			}
		})
	}
}

// fstrm_capture is the collector of those who wrote down the protocol.
func TestCapture(t *testing.T) {
	program, err := exec.LookPath("fstrm_capture")
	if err != nil {
		t.Skip("fstrm_capture is not installed")
	}
	at, file := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "captured")
	capture := exec.Command(program, "-t", contentType, "-u", at, "-w", file)
	if err := capture.Start(); err != nil {
		t.Fatal(err)
	}
	tap := mustOpen(t, Config{Socket: at})
	stop := run(t, tap)
	for told := int64(0); !tap.Connected(); told++ { // it listens when it does
		tap.Query(0, exchange())
		time.Sleep(10 * time.Millisecond)
		if told == 6000 {
			capture.Process.Kill()
			t.Fatal("not connected within a minute")
		}
	}
	for range 100 {
		tap.Response(0, exchange())
	}
	stop()
	capture.Process.Signal(os.Interrupt)
	if err := capture.Wait(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{t: t}
	if err := c.collect(struct{ io.Reader }{bytes.NewReader(bytes.TrimPrefix(b, []byte(begin)))}, 0); err != nil || len(c.frames) != int(tap.Written()) || len(c.frames) < 100 {
		t.Errorf("%v, %d captured, %d written", err, len(c.frames), tap.Written())
	}
}

func TestOpen(t *testing.T) {
	for want, cfg := range map[string]Config{
		"one of them":           {},
		"a socket or a file":    {Socket: "/s", File: "/f"},
		"is no collector":       {Socket: "localhost"},
		"longer than 107":       {Socket: "/" + strings.Repeat("x", 107)},
		"at most 255":           {File: "-", Identity: strings.Repeat("x", 256)},
		"no such file":          {File: filepath.Join(t.TempDir(), "none", "tap")},
		"\"127.0.0.1:0\" is no": {Socket: "127.0.0.1:0"},
	} {
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "open dnstap: ") {
			t.Errorf("%s: %v", want, err)
		}
	}
	var off *Tap
	off.Query(0, exchange())
	off.Response(0, exchange())
	if err := errors.Join(off.Run(t.Context()), off.Close()); err != nil || off.Connected() || off.Dropped()+off.Written()+off.Connections() != 0 {
		t.Error("a tap that is off does something")
	}
}

func TestNoAllocation(t *testing.T) {
	tap := mustOpen(t, Config{File: "-", Stdout: io.Discard, Buffers: 1, Identity: "ns1"})
	x := exchange()
	tap.Query(0, x) // makes the buffer
	if n := testing.AllocsPerRun(100, func() { tap.Query(0, x); tap.Response(0, x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkResponse(b *testing.B) {
	tap := mustOpen(b, Config{File: "-", Stdout: io.Discard, Identity: "ns1"})
	stop := run(b, tap)
	x := exchange()
	b.ReportAllocs()
	for b.Loop() {
		tap.Response(0, x)
	}
	stop()
}
