package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"perigee/config"
	"perigee/dnsgeo"
)

// writeCertificate writes a new pair with a serial number, changed at a time of its own.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"ns1.perigee.test"}, NotAfter: time.Unix(4e9, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(serial, 0), time.Unix(serial, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	c := &certificate{certFile: filepath.Join(dir, "cert"), keyFile: filepath.Join(dir, "key")}
	if err := c.load(); err == nil {
		t.Fatal("there is no file")
	}
	serial := func() int64 {
		cert, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.SerialNumber.Int64()
	}
	writeCertificate(t, c.certFile, c.keyFile, 1)
	if err := c.load(); err != nil || serial() != 1 {
		t.Fatal(err)
	}
	was := c.current.Load()
	if err := c.load(); err != nil || c.current.Load() != was {
		t.Errorf("files that have not changed were read again: %v", err)
	}
	// A certificate without its key yet.
	writeCertificate(t, c.certFile, filepath.Join(dir, "other"), 2)
	if err := c.load(); err == nil || serial() != 1 {
		t.Errorf("%v, serial %d", err, serial())
	}
	writeCertificate(t, c.certFile, c.keyFile, 3)
	if err := c.load(); err != nil || serial() != 3 {
		t.Errorf("%v, serial %d", err, serial())
	}
}

func TestZonesOfTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "perigee.yaml")
	text := `
dns:
  zones:
  - name: example.org
    file: example.zone
    notify: [192.0.2.53, "192.0.2.54:5353 a.key"]
    transfer: {keys: [a.key], allow: [192.0.2.0/24]}
  - {name: perigee.test, file: steered.zone}
  tsig_keys:
  - {name: a.key, algorithm: hmac-sha512, secret: MDEyMzQ1Njc4OWFiY2RlZg==}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, nil, []string{"data=" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRole(cfg, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var c dnsgeo.Config
	if err := r.addZones(&c); err != nil {
		t.Fatal(err)
	}
	want := []dnsgeo.ZoneFile{{
		Name: "example.org", Path: "example.zone",
		Notify:   []dnsgeo.NotifyTarget{{Addr: netip.MustParseAddrPort("192.0.2.53:53")}, {Addr: netip.MustParseAddrPort("192.0.2.54:5353"), Key: "a.key"}},
		Transfer: dnsgeo.Transfer{Keys: []string{"a.key"}, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	}, {Name: "perigee.test", Path: "steered.zone"}}
	key := dnsgeo.TSIGKey{Name: "a.key", Algorithm: "hmac-sha512", Secret: []byte("0123456789abcdef")}
	if !reflect.DeepEqual(c.Zones, want) || !reflect.DeepEqual(c.TSIGKeys, []dnsgeo.TSIGKey{key}) || c.TLS != nil {
		t.Errorf("%+v, %+v", c.Zones, c.TSIGKeys)
	}
	cfg.DNS.ListenTLS, cfg.DNS.TLSCert, cfg.DNS.TLSKey = "127.0.0.1:0", "/nonexistent/cert", "/nonexistent/key"
	if err := r.addZones(&c); err == nil || !strings.Contains(err.Error(), "dns.tls_cert") {
		t.Errorf("%v", err)
	}
}
