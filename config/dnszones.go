package config

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// DNS is the DNS server.
type DNS struct {
	Listen    string    `yaml:"listen"`
	TTL       Duration  `yaml:"ttl"`
	TTLSteady Duration  `yaml:"ttl_steady"`
	Geo       []string  `yaml:"geo"`
	GeoUpdate GeoUpdate `yaml:"geo_update"`
	State     string    `yaml:"state"`
	NSID      string    `yaml:"nsid"`
	// Explain has the networks that may ask for the reasons of an answer.
	Explain   []netip.Prefix `yaml:"explain"`
	Admin     string         `yaml:"admin"`
	ListenTLS string         `yaml:"listen_tls"`
	TLSCert   string         `yaml:"tls_cert"`
	TLSKey    string         `yaml:"tls_key"`
	Policy    string         `yaml:"policy"`
	// KeyPeers has the public identities of the DNS nodes that share the DNSSEC keys of the zone, this one among them or not.
	KeyPeers []string  `yaml:"key_peers"`
	Zones    []DNSZone `yaml:"zones"`
	TSIGKeys []TSIGKey `yaml:"tsig_keys"`

	Log     DNSLog     `yaml:"log"`
	Tap     DNSTap     `yaml:"tap"`
	Limit   DNSLimit   `yaml:"limit"`
	Cookies DNSCookies `yaml:"cookies"`
}

// DNSZone is a zone in a file.
type DNSZone struct {
	Name     string      `yaml:"name"`
	File     string      `yaml:"file"`
	Notify   []Secondary `yaml:"notify"`
	Transfer DNSTransfer `yaml:"transfer"`
}

// DNSTransfer says who may have a zone whole.
type DNSTransfer struct {
	Keys  []string       `yaml:"keys"`
	Allow []netip.Prefix `yaml:"allow"`
}

// Secondary is a server that is told of new versions of a zone. Its text is an address, with or without a port (53), and
// perhaps the name of the key that signs the message: "192.0.2.53:5353 example.key".
type Secondary struct {
	Addr netip.AddrPort
	Key  string
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secondary) UnmarshalText(t []byte) error {
	fields := strings.Fields(string(t))
	bad := fmt.Errorf("%q is no secondary; write its address, its port if that is not 53, and the name of a key if there is one: \"192.0.2.53:5353 example.key\"", t)
	if len(fields) < 1 || len(fields) > 2 {
		return bad
	}
	at, err := netip.ParseAddrPort(fields[0])
	if err != nil {
		a, err := netip.ParseAddr(fields[0])
		if err != nil {
			return bad
		}
		at = netip.AddrPortFrom(a, 53)
	}
	*s = Secondary{Addr: at}
	if len(fields) == 2 {
		s.Key = fields[1]
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Secondary) MarshalText() ([]byte, error) {
	return []byte(strings.TrimSpace(s.Addr.String() + " " + s.Key)), nil
}

// TSIGKey is a secret that is shared with secondaries (RFC 8945).
type TSIGKey struct {
	Name      string `yaml:"name"`
	Algorithm string `yaml:"algorithm"`
	Secret    Secret `yaml:"secret"`
}

// SecretBytes returns the secret, which the configuration has in base64.
func (k TSIGKey) SecretBytes() ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(k.Secret.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("the secret of TSIG key %s is not base64", k.Name)
	}
	return b, nil
}

func (v validator) dns() {
	d := v.c.DNS
	v.listen("dns.listen", d.Listen)
	if d.TTL.Std() < time.Second || d.TTL.Std() > 24*time.Hour || d.TTL.Std()%time.Second != 0 {
		v.bad("dns.ttl", "%v is not a whole number of seconds between 1s and 24h", d.TTL)
	}
	if s := d.TTLSteady.Std(); s < 0 || s > 24*time.Hour || s%time.Second != 0 {
		v.bad("dns.ttl_steady", "%v is not a whole number of seconds up to 24h", d.TTLSteady)
	}
	v.admin("dns.admin", d.Admin)
	v.geo(d)
	v.policy(d.Policy)
	v.dnsLog(d.Log)
	v.dnsTap(d.Tap)
	v.dnsGuards(d.Limit, d.Cookies)
	v.keyPeers(d.KeyPeers)
	v.pair("dns.tls_cert", "dns.tls_key", d.TLSCert != "", d.TLSKey != "")
	if d.ListenTLS != "" && v.listen("dns.listen_tls", d.ListenTLS) {
		if d.TLSCert == "" && d.TLSKey == "" {
			v.bad("dns.listen_tls", "DNS over TLS needs a certificate: set dns.tls_cert and dns.tls_key")
		}
		if d.ListenTLS == d.Listen && !strings.HasSuffix(d.Listen, ":0") {
			v.bad("dns.listen_tls", "it is dns.listen, too; DNS over TLS has a port of its own, usually 853")
		}
	}
	var names []string
	for _, k := range d.TSIGKeys {
		v.tsigKey("dns.tsig_keys."+k.Name, k)
		names = append(names, k.Name)
	}
	seen := map[string]bool{}
	for _, z := range d.Zones {
		key := "dns.zones." + z.Name
		// The same name again is found when the list is read, but not in another spelling.
		canonical := strings.ToLower(strings.TrimSuffix(z.Name, "."))
		if seen[canonical] {
			v.bad(key, "two entries are the zone %s", canonical)
		}
		seen[canonical] = true
		v.dnsZone(key, z, names)
	}
}

func (v validator) tsigKey(key string, k TSIGKey) {
	if !domainName(k.Name) {
		v.bad(key+".name", "%q is no domain name, which the name of a key is, such as example.key", k.Name)
	}
	v.oneOf(key+".algorithm", k.Algorithm, "hmac-sha256", "hmac-sha512")
	secretKey := key + ".secret"
	if v.c.origins[secretKey] == "" {
		secretKey = key
	}
	if b, err := k.SecretBytes(); err != nil || len(b) < minToken {
		v.bad(secretKey, "its secret is base64 of at least %d bytes: `openssl rand -base64 32` makes one", minToken)
	}
}

func (v validator) dnsZone(key string, z DNSZone, keys []string) {
	if !domainName(z.Name) {
		v.bad(key+".name", "%q is no name of a zone, such as example.org", z.Name)
	}
	if z.File == "" {
		v.bad(key, "name the file that holds the zone: file: /path/to/%s.zone", z.Name)
	}
	knows := func(where, name string) {
		for _, k := range keys {
			if strings.EqualFold(strings.TrimSuffix(k, "."), strings.TrimSuffix(name, ".")) {
				return
			}
		}
		v.bad(where, "there is no key %q in dns.tsig_keys%s", name, suggest(name, keys))
	}
	for _, k := range z.Transfer.Keys {
		knows(key+".transfer.keys", k)
	}
	for _, p := range z.Transfer.Allow {
		if p != p.Masked() {
			v.bad(key+".transfer.allow", "%v has bits beyond its length; write %v", p, p.Masked())
		}
	}
	for _, s := range z.Notify {
		if s.Addr.Port() == 0 || s.Addr.Addr().IsUnspecified() {
			v.bad(key+".notify", "%v is no address of a secondary", s.Addr)
		}
		if s.Key != "" {
			knows(key+".notify", s.Key)
		}
	}
	steered := strings.EqualFold(strings.TrimSuffix(z.Name, "."), v.c.Zone.Name)
	if steered && (len(z.Notify) > 0 || len(z.Transfer.Keys)+len(z.Transfer.Allow) > 0) {
		v.bad(key, "it is the zone of the steered names (zone.name), whose answers depend on the client: a plain secondary could not give them; drop notify and transfer")
	}
}

// domainName reports whether s can be the name of a zone or a key: labels of letters, digits, '-', '_' and '/' (RFC 2317), the final dot
// left out or not.
func domainName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.ToLower(s), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_/") != "" {
			return false
		}
	}
	return true
}
