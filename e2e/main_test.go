package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var binary string

// TestMain builds the binary once, or takes the one that E2E_BINARY names.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		if binary = os.Getenv("E2E_BINARY"); binary != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "perigee-e2e-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "perigee")
		build := exec.Command("go", "build", "-o", binary, "perigee/cmd/perigee")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// long is how long anything may take before a test gives up on it: no test measures time with it.
const long = 60 * time.Second

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// up starts a system in a temporary directory and stops it after the test.
func up(t testing.TB, sets ...string) *System {
	t.Helper()
	s, err := NewSystem(binary, filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	s.Sets = sets
	return started(t, s)
}

// upPublic is up with a storage that clients may send the bytes of uploads to.
func upPublic(t testing.TB, sets ...string) *System {
	t.Helper()
	s, err := NewSystem(binary, filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	s.Sets = append(sets, "storage.public_endpoint=http://"+s.s3)
	return started(t, s)
}

func started(t testing.TB, s *System) *System {
	t.Helper()
	start(t, s)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.LogTail())
		}
		if s.running() {
			s.Interrupt(within(t, long))
		}
	})
	return s
}

func start(t testing.TB, s *System) {
	t.Helper()
	if err := s.Start(within(t, long)); err != nil {
		t.Fatal(err)
	}
}

func (s *System) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// places are client networks, and the edge nearest to each.
var places = []struct {
	network netip.Prefix
	edge    string
}{
	{netip.MustParsePrefix("81.2.69.0/24"), "fra"},    // London
	{netip.MustParsePrefix("128.59.0.0/24"), "nyc"},   // New York
	{netip.MustParsePrefix("137.132.80.0/24"), "sin"}, // Singapore
}

// dig asks the DNS server for name as a resolver does that has a client in network.
func dig(t testing.TB, s *System, transport, name string, qtype uint16, network netip.Prefix) *dns.Msg {
	t.Helper()
	m, err := ask(within(t, long), s.DNS, transport, name, qtype, network)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ask(ctx context.Context, server, transport, name string, qtype uint16, network netip.Prefix) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	if network.IsValid() {
		family := uint16(1)
		if network.Addr().Is6() {
			family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(network.Bits()), Address: net.IP(network.Addr().AsSlice()),
		})
	}
	r, _, err := (&dns.Client{Net: transport, Timeout: 5 * time.Second}).ExchangeContext(ctx, m, server)
	return r, err
}

// chosen returns host:port of the edge that DNS gives a client in network for the site's name.
func chosen(t testing.TB, s *System, transport string, network netip.Prefix) string {
	t.Helper()
	r := dig(t, s, transport, "www.perigee.test", dns.TypeA, network)
	if len(r.Answer) != 1 {
		t.Fatalf("DNS answered %v", r)
	}
	return fmt.Sprintf("%s:%d", r.Answer[0].(*dns.A).A, s.EdgePort)
}

func (s *System) siteURL(path string) string {
	return fmt.Sprintf("http://www.perigee.test:%d%s", s.EdgePort, path)
}

// eventually polls cond until it holds; the deadline is only there to end a hopeless test.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(long)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func fetchOK(t testing.TB, addr, url string, header ...string) Answer {
	t.Helper()
	a, err := Fetch(within(t, long), addr, url, header...)
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != 200 {
		t.Fatalf("%s from %s: %d %s %s", url, addr, a.Status, a.Header.Get("Cache-Status"), a.Body)
	}
	return a
}

func isHit(a Answer) bool { return strings.Contains(a.Header.Get("Cache-Status"), "; hit") }

func jsonBody(s string) io.Reader {
	if s == "" {
		return nil
	}
	return strings.NewReader(s)
}
