package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// secretText is base64 of 32 bytes.
const secretText = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// TestZonesOfTheReference loads the entries that default.yaml shows in its comments, and finds every key in them.
func TestZonesOfTheReference(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte(secretText+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	example := "dns:\n"
	for line := range strings.Lines(DefaultYAML) {
		switch m := regexp.MustCompile(`^  # ( +.*)`).FindStringSubmatch(line); {
		case strings.HasPrefix(line, "  # Zones beside"):
			example += "  zones:\n"
		case strings.HasPrefix(line, "  # Keys shared"):
			example += "  tsig_keys:\n"
		case m != nil && strings.HasPrefix(line, "  #   "):
			example += m[1] + "\n"
		}
	}
	c, err := load("perigee.yaml", []byte(strings.Replace(example, "/etc/perigee/example.key", secret, 1)), nil, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, example)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	z, k := c.DNS.Zones[0], c.DNS.TSIGKeys[0]
	want := DNSZone{
		Name: "example.org", File: "/etc/perigee/example.org.zone",
		Notify:   []Secondary{{Addr: netip.MustParseAddrPort("192.0.2.53:53")}, {Addr: netip.MustParseAddrPort("192.0.2.54:5353"), Key: "example.key"}},
		Transfer: DNSTransfer{Keys: []string{"example.key"}, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	}
	if b, err := k.SecretBytes(); !reflect.DeepEqual(z, want) || k.Algorithm != "hmac-sha256" || len(b) != 32 || err != nil {
		t.Errorf("%+v, %+v, %v", z, k, err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[DNSZone](), reflect.TypeFor[TSIGKey](), reflect.TypeFor[DNSTransfer]()} {
		names, _ := fieldsOf(typ)
		for _, n := range names {
			if !regexp.MustCompile(`(?m)#.*\b` + n + `(_file)?:`).MatchString(DefaultYAML) {
				t.Errorf("default.yaml does not show %s of %v", n, typ)
			}
		}
	}
	text, err := c.YAML(true)
	if err != nil || strings.Contains(text, secretText) || !strings.Contains(text, "192.0.2.54:5353 example.key") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestDNSMistakes(t *testing.T) {
	const keys = "  tsig_keys:\n  - {name: example.key, algorithm: hmac-sha256, secret: " + secretText + "}\n"
	for _, tc := range []struct{ name, file, set, want string }{
		{"no name", "dns:\n  zones:\n  - {file: x}\n", "", "perigee.yaml:3: dns.zones[0]: the entry has no name"},
		{"no file", "dns:\n  zones:\n  - name: example.org\n", "", "perigee.yaml:3: dns.zones.example.org: name the file that holds the zone"},
		{"twice", "dns:\n  zones:\n  - {name: x.org, file: a}\n  - {name: x.org, file: b}\n", "", "perigee.yaml:4: dns.zones.x.org: the name is there twice; it was first given at perigee.yaml:3"},
		{"twice, spelled differently", "dns:\n  zones:\n  - {name: x.org, file: a}\n  - {name: X.org., file: b}\n", "", "perigee.yaml:4: dns.zones.X.org.: two entries are the zone x.org"},
		{"key of a zone", "dns:\n  zones:\n  - name: x.org\n    fiel: a\n", "", `perigee.yaml:4: dns.zones.x.org.fiel: unknown key; did you mean "file"?`},
		{"key of its transfer", "dns:\n  zones:\n  - name: x.org\n    file: a\n    transfer: {alow: []}\n", "", `perigee.yaml:5: dns.zones.x.org.transfer.alow: unknown key; did you mean "allow"?`},
		{"not a list", "dns:\n  zones: x.org\n", "", "perigee.yaml:2: dns.zones: expected a list in a configuration file"},
		{"not sections", "dns:\n  zones: [x.org]\n", "", "perigee.yaml:2: dns.zones[0]: expected a section with keys such as name, file, notify"},
		{"by a flag", "", "dns.zones=x.org", "--set dns.zones: dns.zones: expected a list in a configuration file"},
		{"secondary", "dns:\n  zones:\n  - name: x.org\n    file: a\n    notify: [ns.x.org]\n", "", `perigee.yaml:5: dns.zones.x.org.notify: "ns.x.org" is no secondary; write its address`},
		{"prefix", "dns:\n  zones:\n  - name: x.org\n    file: a\n    transfer: {allow: [192.0.2.1/24]}\n", "", "perigee.yaml:5: dns.zones.x.org.transfer.allow: 192.0.2.1/24 has bits beyond its length; write 192.0.2.0/24"},
		{"unknown TSIG key", "dns:\n  zones:\n  - name: x.org\n    file: a\n    transfer: {keys: [exmaple.key]}\n" + keys, "", `perigee.yaml:5: dns.zones.x.org.transfer.keys: there is no key "exmaple.key" in dns.tsig_keys; did you mean "example.key"?`},
		{"unknown TSIG key of a secondary", "dns:\n  zones:\n  - name: x.org\n    file: a\n    notify: 192.0.2.1 other\n" + keys, "", `perigee.yaml:5: dns.zones.x.org.notify: there is no key "other"`},
		{"algorithm", "dns:\n  tsig_keys:\n  - {name: k, algorithm: hmac-sha265, secret: " + secretText + "}\n", "", `perigee.yaml:3: dns.tsig_keys.k.algorithm: "hmac-sha265" is none of hmac-sha256, hmac-sha512; did you mean "hmac-sha256"?`},
		{"secret that is no base64", "dns:\n  tsig_keys:\n  - {name: k, algorithm: hmac-sha256, secret: '???'}\n", "", "perigee.yaml:3: dns.tsig_keys.k.secret: its secret is base64 of at least 16 bytes"},
		{"no secret", "dns:\n  tsig_keys:\n  - {name: k, algorithm: hmac-sha256}\n", "", "perigee.yaml:3: dns.tsig_keys.k: its secret is base64"},
		{"steered zone to secondaries", "dns:\n  zones:\n  - {name: perigee.test, file: a, notify: 192.0.2.1}\n", "", "perigee.yaml:3: dns.zones.perigee.test: it is the zone of the steered names"},
		{"TLS without a certificate", "dns: {listen_tls: ':853'}\n", "", "perigee.yaml:1: dns.listen_tls: DNS over TLS needs a certificate"},
		{"certificate without a key", "dns: {listen_tls: ':853', tls_cert: a}\n", "", "perigee.yaml:1: dns.tls_cert: dns.tls_key is missing"},
		{"one address for both", "dns: {listen: ':53', listen_tls: ':53', tls_cert: a, tls_key: b}\n", "", "a port of its own"},
		{"all in order", "dns:\n  listen_tls: ':853'\n  tls_cert: a\n  tls_key: b\n  zones:\n  - {name: perigee.test, file: a}\n  - {name: X.org, file: b, notify: ['2001:db8::1', '[2001:db8::2]:5353 Example.KEY.'], transfer: {keys: EXAMPLE.key.}}\n  - {name: 0/25.2.0.192.in-addr.arpa, file: c}\n" + keys, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := load("perigee.yaml", []byte(tc.file), nil, append(nonEmpty(tc.set), "data="+t.TempDir()))
			if err == nil {
				err = c.Validate()
			}
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}
