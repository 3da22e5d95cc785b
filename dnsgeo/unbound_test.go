package dnsgeo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/sign"
)

const unboundConf = `server:
  directory: "%[1]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 127.0.0.1
  port: %[2]d
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "subnetcache validator iterator"
  send-client-subnet: 127.0.0.0/8
  client-subnet-always-forward: yes
  use-caps-for-id: yes
  aggressive-nsec: yes
  harden-below-nxdomain: yes
  local-zone: "test." nodefault
  trust-anchor: "%[3]s"
remote-control:
  control-enable: no
stub-zone:
  name: "perigee.test"
  stub-addr: %[4]s
`

// startUnbound runs a validating resolver in front of a server and returns its address.
func startUnbound(t *testing.T, r *rig) string {
	t.Helper()
	unbound, err := exec.LookPath("unbound")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("unbound is not installed; it is in the Debian package unbound")
	} else if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.LocalAddr().(*net.UDPAddr).Port
	l.Close()
	dir, at := t.TempDir(), r.Addr()
	conf := filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf(unboundConf, dir, port, r.signer.Keys().Keys[0].DS(), fmt.Sprintf("%s@%d", at.Addr(), at.Port()))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(unbound, "-d", "-c", conf)
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	up := &dns.Client{Timeout: time.Second}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		m := new(dns.Msg)
		m.SetQuestion("localhost.", dns.TypeA)
		if _, _, err := up.Exchange(m, address); err == nil {
			return address
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(said.Name())
			t.Fatalf("unbound does not answer:\n%s", out)
		}
	}
}

// TestResolverValidates: a validating resolver that randomizes case, keeps answers apart by client subnet and concludes from NSEC records what it can, finds
// every answer authentic, the second time too.
func TestResolverValidates(t *testing.T) {
	r := newSigned(t, sign.Limits{}, nil)
	r.run()
	resolver := startUnbound(t, r)
	c := &dns.Client{Net: "tcp", Timeout: 20 * time.Second}
	for _, x := range []struct {
		name    string
		qtype   uint16
		subnet  string
		answer  string
		answers int
	}{
		{"www", dns.TypeA, london, "127.0.1.1", 1},
		{"www", dns.TypeA, newYork, "127.0.1.2", 1},
		{"www", dns.TypeA, singapore, "127.0.1.3", 1},
		{"alias", dns.TypeA, newYork, "127.0.1.2", 2},
		{"fixed", dns.TypeA, "", "192.0.2.99", 1},
		{"fixed", dns.TypeAAAA, "", "", 0},
		{"nx", dns.TypeA, "", "", 0},
		{"a.nx", dns.TypeA, "", "", 0},
		{"deep", dns.TypeA, "", "", 0},
		{"a.b.deep", dns.TypeTXT, "", "", 1}, // not concluded to be absent from what was said of "deep"
		{"other.wild", dns.TypeA, "", "192.0.2.77", 1},
		{"one.wild", dns.TypeTXT, "", "", 0},
		{"one.wild", dns.TypeA, "", "192.0.2.77", 1},
		{"one.cwild", dns.TypeA, london, "127.0.1.1", 2},
		{"plain", dns.TypeDS, "", "", 0},
		{"big", dns.TypeTXT, "", "", 1},
	} {
		for again := range 2 {
			q := secured(x.name+".perigee.test.", x.qtype, x.subnet)
			q.RecursionDesired = true
			m, _, err := c.Exchange(q, resolver)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, rr := range m.Answer {
				if rr.Header().Rrtype != dns.TypeRRSIG {
					n++
				}
			}
			if got := address(t, m); !m.AuthenticatedData || n != x.answers || got != x.answer || m.Rcode != dns.RcodeSuccess {
				t.Errorf("%s %s %s, time %d: %q, want %q\n%v", x.name, dns.Type(x.qtype), x.subnet, again+1, got, x.answer, m)
			}
		}
	}
}
