package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"perigee/dnsgeo"
)

// addZones adds what the DNS server serves and others that decide as it does, to explain, need not know: zones in files,
// their secondaries, DNS over TLS.
func (r *role) addZones(c *dnsgeo.Config) error {
	d := r.cfg.DNS
	for _, k := range d.TSIGKeys {
		secret, err := k.SecretBytes()
		if err != nil {
			return err
		}
		c.TSIGKeys = append(c.TSIGKeys, dnsgeo.TSIGKey{Name: k.Name, Algorithm: k.Algorithm, Secret: secret})
	}
	for _, z := range d.Zones {
		f := dnsgeo.ZoneFile{Name: z.Name, Path: z.File, Transfer: dnsgeo.Transfer(z.Transfer)}
		for _, s := range z.Notify {
			f.Notify = append(f.Notify, dnsgeo.NotifyTarget(s))
		}
		c.Zones = append(c.Zones, f)
	}
	if d.ListenTLS == "" {
		return nil
	}
	cert := &certificate{certFile: d.TLSCert, keyFile: d.TLSKey}
	if err := cert.load(); err != nil {
		return fmt.Errorf("DNS over TLS (dns.tls_cert, dns.tls_key): %w", err)
	}
	r.start("certificate of DNS over TLS", func(ctx context.Context) error { return cert.follow(ctx, r) })
	c.ListenTLS, c.TLS = d.ListenTLS, &tls.Config{GetCertificate: cert.get}
	return nil
}

// certificate is a certificate in files that somebody else renews.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	loaded            [2]time.Time // when the files were changed that current was read from; used by load only
}

// certificateEvery is how often the files are looked at.
const certificateEvery = 10 * time.Second

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// load reads the files, if they have changed. What was read before stays when they do not fit: they cannot be replaced both
// at once, so one may be ahead of the other for a moment.
func (c *certificate) load() error {
	var changed [2]time.Time
	for i, f := range []string{c.certFile, c.keyFile} {
		fi, err := os.Stat(f)
		if err != nil {
			return err
		}
		changed[i] = fi.ModTime()
	}
	if changed == c.loaded {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current.Store(&cert)
	c.loaded = changed
	return nil
}

func (c *certificate) follow(ctx context.Context, r *role) error {
	t := r.clock.NewTicker(certificateEvery)
	defer t.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
		before := c.current.Load()
		err := c.load()
		switch {
		case err != nil && !failed:
			r.log.Warn("the certificate of DNS over TLS cannot be renewed; the one before stays", "err", err)
		case c.current.Load() != before:
			r.log.Info("DNS over TLS has a new certificate", "file", c.certFile)
		}
		failed = err != nil
	}
}
