package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"perigee/client"
	"perigee/client/clienttest"
	"perigee/fleet"
)

// parts is what doctor looks at, all well, as the configuration that leads to it.
type wellParts struct {
	api, storage, bus, dns, edge, admin string
	nodes                               []client.Node
}

func (p wellParts) args(data string) []string {
	return []string{"doctor", "--timeout", "2s", "--url", p.api, "--data", data,
		"--set", "storage.endpoint=" + p.storage, "--set", "bus.url=nats://" + p.bus, "--set", "dns.listen=" + p.dns, "--set", "admin.listen=" + p.admin}
}

func newWellParts(t *testing.T) wellParts {
	t.Helper()
	answer := func(status int, head, value string) string {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(head, value)
			w.WriteHeader(status)
		}))
		t.Cleanup(h.Close)
		return h.Listener.Addr().String()
	}
	p := wellParts{
		storage: "http://" + answer(403, "Server", "S3"), edge: answer(404, "Cache-Status", "fra; detail=no-such-file"), admin: answer(200, "X", "y"),
		bus: serveTCP(t, func(c net.Conn) { io.WriteString(c, "INFO {}\r\n") }),
	}
	p.dns = serveDNS(t, func(q []byte) []byte { return dnsAnswer(q, 0, "127.0.1.1") })
	s := clienttest.New(t)
	s.Nodes = []client.Node{{Node: fleet.Node{Report: fleet.Report{Format: 1, Node: "fra", Role: fleet.RoleEdge, State: fleet.Ready, Addrs: []netip.AddrPort{netip.MustParseAddrPort(p.edge)}}}}}
	p.api, p.nodes = s.URL, s.Nodes
	return p
}

func serveTCP(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	acceptAll(t, ln, f)
	return ln.Addr().String()
}

func acceptAll(t *testing.T, ln net.Listener, f func(net.Conn)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
}

// serveDNS answers over UDP and TCP at one port.
func serveDNS(t *testing.T, answer func(query []byte) []byte) string {
	t.Helper()
	for range 20 { // a port that is free for UDP may be taken for TCP
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			pc.Close()
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 512)
			for {
				n, from, err := pc.ReadFrom(b)
				if err != nil {
					return
				}
				pc.WriteTo(answer(b[:n]), from)
			}
		}()
		t.Cleanup(func() { pc.Close(); <-done })
		acceptAll(t, ln, func(c net.Conn) {
			b := make([]byte, 512)
			n, err := c.Read(b)
			if err == nil && n > 2 {
				a := answer(b[2:n])
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
			}
		})
		return pc.LocalAddr().String()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}

// dnsAnswer answers query with a code and A records.
func dnsAnswer(query []byte, code byte, addrs ...string) []byte {
	a := bytes.Clone(query)
	a[2], a[3] = 0x84, code
	binary.BigEndian.PutUint16(a[6:], uint16(len(addrs)))
	for _, s := range addrs {
		ip := netip.MustParseAddr(s).As4()
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 20, 0, 4)
		a = append(a, ip[:]...)
	}
	return a
}

func TestDoctorFindsAllWell(t *testing.T) {
	r := perigee(t, nil, newWellParts(t).args(t.TempDir())...).want(t, 0)
	for _, want := range []string{"data directory", "free of", "storage", "clock", "bus", "API", "DNS, UDP", "DNS, TCP", "is 127.0.1.1", "edge fra", "health"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out, "FAIL") {
		t.Error(r.out)
	}
}

func TestDoctorNamesWhatIsIll(t *testing.T) {
	dead := func(t *testing.T) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	serve := func(t *testing.T, f http.HandlerFunc) string {
		h := httptest.NewServer(f)
		t.Cleanup(h.Close)
		return h.URL
	}
	for _, tc := range []struct {
		name                  string
		hurt                  func(*testing.T, *wellParts)
		check, detail, advice string
	}{
		{"storage away", func(t *testing.T, p *wellParts) { p.storage = "http://" + dead(t) }, "storage", "refused", "perigee storage"},
		{"clock", func(t *testing.T, p *wellParts) {
			p.storage = serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			})
		}, "clock", "1h0m", "NTP"},
		{"bus away", func(t *testing.T, p *wellParts) { p.bus = dead(t) }, "bus", "refused", "perigee bus"},
		{"no bus", func(t *testing.T, p *wellParts) {
			p.bus = serveTCP(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1") })
		}, "bus", "something else", ""},
		{"API away", func(t *testing.T, p *wellParts) { p.api = "http://" + dead(t) }, "API", "refused", "perigee upload"},
		{"DNS refuses", func(t *testing.T, p *wellParts) {
			p.dns = serveDNS(t, func(q []byte) []byte { return dnsAnswer(q, 5) })
		}, "DNS, UDP", "REFUSED", "perigee dns"},
		{"DNS without edges", func(t *testing.T, p *wellParts) {
			p.dns = serveDNS(t, func(q []byte) []byte { return dnsAnswer(q, 0) })
		}, "DNS, TCP", "no edge is fit", "perigee fleet"},
		{"not an edge", func(t *testing.T, p *wellParts) {
			p.nodes[0].Addrs[0] = netip.MustParseAddrPort(strings.TrimPrefix(serve(t, http.NotFound), "http://"))
		}, "edge fra", "not that of an edge", "DNS sends nobody"},
		{"silent edge", func(_ *testing.T, p *wellParts) { p.nodes[0].Down = true }, "edge fra", "stopped reporting", "forget"},
		{"not ready", func(t *testing.T, p *wellParts) {
			p.admin = strings.TrimPrefix(serve(t, func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "not ready: no lease", http.StatusServiceUnavailable)
			}), "http://")
		}, "health", "not ready: no lease", "log"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newWellParts(t)
			tc.hurt(t, &p)
			r := perigee(t, nil, append(p.args(t.TempDir()), "--json")...).want(t, 1)
			var got struct {
				OK     bool
				Checks []finding
			}
			if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.OK {
				t.Fatal(err, r.out)
			}
			found := false
			for _, f := range got.Checks {
				if f.Check == tc.check && !f.OK {
					found = true
					if !strings.Contains(f.Detail, tc.detail) || !strings.Contains(f.Advice, tc.advice) || f.Advice == "" {
						t.Errorf("%+v", f)
					}
				}
			}
			if !found {
				t.Errorf("not found: %s", r.out)
			}
		})
	}
}

func TestDoctorOfThisMachine(t *testing.T) {
	p := newWellParts(t)
	file := t.TempDir() + "/file"
	writeFile(t, file, "x")
	r := perigee(t, nil, p.args(file)...).want(t, 1)
	if !strings.Contains(r.out, "FAIL  data directory") || !strings.Contains(r.out, "no directory") {
		t.Error(r.out)
	}
	r = perigee(t, nil, append(p.args(t.TempDir()), "--set", "api.lisen=x")...).want(t, 1)
	if !strings.Contains(r.out, `FAIL  configuration`) || !strings.Contains(r.out, "api.listen") || strings.Contains(r.out, "storage") {
		t.Error(r.out)
	}
	dir := t.TempDir()
	writeFile(t, dir+"/secrets.json", "{}")
	r = perigee(t, nil, p.args(dir)...).want(t, 1)
	if !strings.Contains(r.out, "FAIL  secrets") || !strings.Contains(r.out, "chmod 600") {
		t.Error(r.out)
	}
}

func TestDNSQuestion(t *testing.T) {
	q, err := dnsQuery("www.perigee.test.")
	if err != nil || !bytes.Equal(q[2:], []byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07perigee\x04test\x00\x00\x01\x00\x01")) {
		t.Errorf("%q %v", q, err)
	}
	for _, bad := range []string{"", ".", "a..b", strings.Repeat("x", 64) + ".test"} {
		if _, err := dnsQuery(bad); err == nil {
			t.Errorf("%q is a name", bad)
		}
	}
	got, err := parseDNS(q, dnsAnswer(q, 0, "192.0.2.1", "192.0.2.2"))
	if err != nil || fmt.Sprint(got) != "[192.0.2.1 192.0.2.2]" {
		t.Error(got, err)
	}
	other := dnsAnswer(q, 0, "192.0.2.1")
	other[0]++
	for _, bad := range [][]byte{nil, q, other, dnsAnswer(q, 0, "192.0.2.1")[:len(q)+14], dnsAnswer(q, 3), dnsAnswer(q, 15)} {
		if got, err := parseDNS(q, bad); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func FuzzParseDNS(f *testing.F) {
	q, err := dnsQuery("www.perigee.test")
	if err != nil {
		f.Fatal(err)
	}
	q[0], q[1] = 1, 2
	f.Add(dnsAnswer(q, 0, "192.0.2.1"))
	f.Add(append(dnsAnswer(q, 0, "192.0.2.1"), 0x3f, 1))
	f.Add(dnsAnswer(q, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		if addrs, err := parseDNS(q, b); err == nil && len(addrs) > len(b)/16 {
			t.Fatalf("%d addresses in %d bytes", len(addrs), len(b))
		}
	})
}
