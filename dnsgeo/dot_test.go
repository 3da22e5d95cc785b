package dnsgeo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// certificate makes one for ns1.perigee.test, and the pool in which a client trusts it.
func certificate(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ns1.perigee.test"}, DNSNames: []string{"ns1.perigee.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func TestDNSOverTLS(t *testing.T) {
	config, pool := certificate(t)
	p := newPrimary(t, Transfer{Keys: []string{"one.key"}}, zoneLines(1, 500, ""), func(c *Config) {
		c.ListenTLS, c.TLS = "127.0.0.1:0", config
	})
	client := &tls.Config{RootCAs: pool, ServerName: "ns1.perigee.test", NextProtos: []string{"dot"}}
	conn, err := dns.DialWithTLS("tcp", p.AddrTLS().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if state := conn.Conn.(*tls.Conn).ConnectionState(); state.NegotiatedProtocol != "dot" {
		t.Errorf("negotiated %q", state.NegotiatedProtocol)
	}
	// Many queries at once, padded, with a keepalive.
	const queries = 200
	go func() {
		for i := range queries {
			q := question("www.perigee.test.", dns.TypeA, london)
			q.Id = uint16(i)
			q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 20)}, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})
			if err := conn.WriteMsg(q); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	seen := map[uint16]bool{}
	for range queries {
		b, err := conn.ReadMsgHeader(nil)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		if len(b)%468 != 0 || keepalive(m) != 100 || address(t, m) != "127.0.1.1" || seen[m.Id] {
			t.Fatalf("%d bytes: %v", len(b), m)
		}
		seen[m.Id] = true
	}
	// A transfer over the same kind of connection.
	m := new(dns.Msg)
	m.SetAxfr("example.org.")
	m.SetTsig("one.key.", dns.HmacSHA256, 300, time.Now().Unix())
	tr := &dns.Transfer{TsigSecret: clientKeys, TLS: client}
	envelopes, err := tr.In(m, p.AddrTLS().String())
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for e := range envelopes {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		records += len(e.RR)
	}
	if records != 504 {
		t.Errorf("%d records", records)
	}
}

func TestTLSIsTLSOnly(t *testing.T) {
	config, pool := certificate(t)
	r := newRig(t, func(c *Config) { c.ListenTLS, c.TLS, c.Idle = "127.0.0.1:0", config, 50*time.Millisecond })
	if r.AddrTLS() == r.Addr() {
		t.Fatal("both listen on one address")
	}
	plain, err := net.Dial("tcp", r.AddrTLS().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write(framed(pack(t, question("www.perigee.test.", dns.TypeA, ""), nil))); err != nil {
		t.Fatal(err)
	}
	if m, err := (&dns.Conn{Conn: plain}).ReadMsg(); err == nil {
		t.Errorf("plain text is answered: %v", m)
	}
	for name, c := range map[string]*tls.Config{
		"another protocol":  {RootCAs: pool, ServerName: "ns1.perigee.test", NextProtos: []string{"h2"}},
		"an old version":    {RootCAs: pool, ServerName: "ns1.perigee.test", MaxVersion: tls.VersionTLS11},
		"another authority": {ServerName: "ns1.perigee.test"},
	} {
		if conn, err := tls.Dial("tcp", r.AddrTLS().String(), c); err == nil {
			conn.Close()
			t.Errorf("%s: the handshake succeeds", name)
		}
	}
	silent, err := tls.Dial("tcp", r.AddrTLS().String(), &tls.Config{RootCAs: pool, ServerName: "ns1.perigee.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := silent.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if !closed(t, silent) {
		t.Error("a silent connection stays open")
	}
}

func TestKdigOverTLS(t *testing.T) {
	if _, err := exec.LookPath("kdig"); err != nil {
		t.Skip(err)
	}
	config, _ := certificate(t)
	r := newRig(t, func(c *Config) { c.ListenTLS, c.TLS = "127.0.0.1:0", config })
	out, err := exec.Command("kdig", "@127.0.0.1", "-p", fmt.Sprint(r.AddrTLS().Port()), "+tls", "+padding", "+keepopen", "+subnet=128.59.0.0/24",
		"www.perigee.test", "A", "www.perigee.test", "AAAA").CombinedOutput()
	for _, want := range []string{"TLS session", "127.0.1.2", "::1:2", "PADDING"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("%v: no %q in\n%s", err, want, out)
		}
	}
}
