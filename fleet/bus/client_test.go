package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/fleet"
	"perigee/object"
	"perigee/purge"
)

func report(node string) *fleet.Report {
	return &fleet.Report{
		Format: 1, Node: node, Role: fleet.RoleEdge, Boot: "b", Seq: 1, State: fleet.Ready,
		Place: fleet.Place{Name: "Frankfurt", Country: "DE", Lat: 50.1, Lon: 8.7},
		Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.1.1:8100")},
	}
}

// changes records what Changed says.
type changes struct {
	mu   sync.Mutex
	list []bool
}

func (c *changes) add(up bool) { c.mu.Lock(); c.list = append(c.list, up); c.mu.Unlock() }
func (c *changes) are(want ...bool) func() bool {
	return func() bool { c.mu.Lock(); defer c.mu.Unlock(); return slices.Equal(c.list, want) }
}

// TestConnect: a client starts before its server, says when the bus comes and goes, and its subscriptions come back.
func TestConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // an address nobody else gets while we hold it
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var said changes
	c := connect(t, ClientConfig{URL: "nats://" + addr, Changed: said.add})
	if c.Connected() {
		t.Error("connected to nothing")
	}
	heard := make(chan *fleet.Report, 10)
	stop, err := c.SubscribeReports(func(r *fleet.Report) { heard <- r })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := c.PublishReport(report("early")); !errors.Is(err, ErrDisconnected) {
		t.Errorf("PublishReport without a bus: %v", err)
	}
	dir := t.TempDir()
	for i, want := range [][]bool{{true}, {true, false, true}} {
		s := startServer(t, ServerConfig{Listen: addr, StoreDir: dir})
		eventually(t, "Changed", said.are(want...))
		if !c.Connected() {
			t.Error("Changed(true), and not connected")
		}
		other := connect(t, ClientConfig{URL: s.URL()})
		// The server may not have read yet what c listens to, and reports are not kept: nodes repeat them.
		eventually(t, "a report arrives", func() bool {
			if err := other.PublishReport(report("fra")); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-heard:
				if r.Node != "fra" {
					t.Errorf("round %d: heard %s; what was published without a bus must not come later", i, r.Node)
				}
				return true
			case <-time.After(10 * time.Millisecond):
				return false
			}
		})
		other.Close()
		s.Shutdown()
		eventually(t, "Changed", said.are(append(want, false)...))
	}
	c.Close()
	if !said.are(true, false, true, false)() {
		t.Errorf("Close of a client without a bus said more: %v", said.list)
	}
}

func TestConnectErrors(t *testing.T) {
	cfg := ClientConfig{URL: "nats://127.0.0.1:1", Region: "r1", Log: quiet(), Clock: clock.System}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Connect(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	cfg.URL = "nats://127.0.0.1:port"
	if _, err := Connect(t.Context(), cfg); err == nil {
		t.Error("a bad URL: no error")
	}
	cfg.Region = ""
	if _, err := Connect(t.Context(), cfg); err == nil {
		t.Error("no region: no error")
	}
}

// TestClose: what was published before is sent, what runs ends.
func TestClose(t *testing.T) {
	s := startServer(t, ServerConfig{})
	var got int
	other := connect(t, ClientConfig{InProcess: s})
	all := make(chan struct{})
	stop, err := other.SubscribeReports(func(*fleet.Report) {
		if got++; got == 100 {
			close(all)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	other.nc.Flush()

	var said changes
	c := connect(t, ClientConfig{URL: s.URL(), Changed: said.add})
	l := c.Log(LogConfig{})
	if err := l.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- l.Follow(t.Context(), purge.Position{}, &collector{}) }()
	go func() { ended <- l.Run(t.Context()) }()
	for range 100 {
		if err := c.PublishReport(report("fra")); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("Follow or Run of a closed client: no error")
		}
	}
	select {
	case <-all:
	case <-time.After(patience):
		t.Error("not everything that was published before Close arrived")
	}
	eventually(t, "Changed", said.are(true, false))
	if err := c.PublishReport(report("fra")); !errors.Is(err, ErrDisconnected) {
		t.Errorf("PublishReport after Close: %v", err)
	}
	c.Close()
}

// TestReports: what is not a report, or not its sender's, is dropped and counted.
func TestReports(t *testing.T) {
	s := startServer(t, ServerConfig{})
	from, to := connect(t, ClientConfig{InProcess: s}), connect(t, ClientConfig{URL: s.URL()})
	heard := make(chan *fleet.Report, 10)
	stop, err := to.SubscribeReports(func(r *fleet.Report) { heard <- r })
	if err != nil {
		t.Fatal(err)
	}
	to.nc.Flush()
	bad := [][]byte{
		[]byte("junk"), []byte("{}"), nil,
		fleet.EncodeReport(report("nyc")),                                        // another node's
		bytes.Repeat([]byte(" "), 65<<10),                                        // too long
		[]byte(`{"format":1,"node":"fra","state":"ready","place":{"lat":1000}}`), // not a place
	}
	for _, b := range bad {
		if err := from.nc.Publish(reportSubject+"fra", b); err != nil {
			t.Fatal(err)
		}
	}
	want := report("fra")
	if err := from.PublishReport(want); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-heard:
		if r.Node != "fra" || r.Addrs[0] != want.Addrs[0] || r.Place != want.Place {
			t.Errorf("heard %+v", r)
		}
	case <-time.After(patience):
		t.Fatal("the good report does not arrive")
	}
	if n := to.DroppedReports(); n != uint64(len(bad)) {
		t.Errorf("dropped %d, want %d", n, len(bad))
	}
	if err := from.PublishReport(report("no.label")); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("a report of a node without a good name: %v", err)
	}
	stop()
	stop()
	if err := from.PublishReport(want); err != nil {
		t.Fatal(err)
	}
	from.nc.Flush()
	to.nc.Flush()
	if len(heard) > 0 {
		t.Error("heard a report after stop")
	}
}

func TestControl(t *testing.T) {
	s := startServer(t, ServerConfig{Users: testUsers})
	api, node := connect(t, as(s, "api")), connect(t, as(s, "fra"))
	if err := api.Send(t.Context(), "fra", Request{Command: Drain}, nil); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "fra") {
		t.Errorf("nobody serves: %v", err)
	}
	var got []Command
	block := make(chan struct{})
	long := strings.Repeat("\x01", 10_000)
	stop, err := node.ServeControl("fra", func(r Request) (any, error) {
		got = append(got, r.Command)
		switch len(got) {
		case 2:
			return nil, errors.New(long)
		case 3:
			return map[string]string{"path": string(r.Path)}, nil
		case 4:
			<-block
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	node.nc.Flush()
	if err := api.Send(t.Context(), "fra", Request{Command: Drain}, nil); err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := api.Send(t.Context(), "fra", Request{Command: Undrain}, nil); err == nil || !strings.Contains(err.Error(), "undrain fra: \x01") {
		t.Errorf("an error of the node: %.80v", err)
	}
	if err := api.Send(t.Context(), "fra", Request{Command: "explode"}, nil); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("an unknown command: %v", err)
	}
	var held struct{ Path string }
	if err := api.Send(t.Context(), "fra", Request{Command: Explain, Site: "www", Path: "/a"}, &held); err != nil || held.Path != "/a" {
		t.Errorf("explain: %+v, %v", held, err)
	}
	if err := api.Send(t.Context(), "fra", Request{Command: Explain, Site: "www", Path: "/../a"}, &held); err == nil {
		t.Error("explain of a bad path: no error")
	}
	start := time.Now()
	if err := api.Send(t.Context(), "fra", Request{Command: Drain}, nil); !errors.Is(err, ErrNoAnswer) || time.Since(start) < answerWait {
		t.Errorf("a node that hangs, after %v: %v", time.Since(start), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := api.Send(ctx, "fra", Request{Command: Drain}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	close(block)
	stop()
	if want := []Command{Drain, Undrain, Explain, Drain}; !slices.Equal(got, want) {
		t.Errorf("carried out %v, want %v", got, want)
	}
	for _, name := range []string{"", "*", "a.b", ">"} {
		if err := api.Send(t.Context(), name, Request{Command: Drain}, nil); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("Send to %q: %v", name, err)
		}
		if _, err := api.ServeControl(name, nil); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("ServeControl for %q: %v", name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{`{"format":1,"command":"drain"}`, `{"format":1,"command":"undrain"}`, `{"format":2,"command":"drain"}`, `{"format":1,"command":"explain","site":"www","path":"/a"}`, `{}`, ``, `[]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		req, err := parseRequest(b)
		if (err == nil) != (req.Command == Drain || req.Command == Undrain || req.Command == Explain) {
			t.Errorf("%+v, %v", req, err)
		}
		var r request
		if err == nil && (json.Unmarshal(b, &r) != nil || r.Request != req) {
			t.Errorf("%+v is not what %q says", req, b)
		}
	})
}
