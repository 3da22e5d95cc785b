package config

import (
	"errors"
	"strings"
	"testing"

	"perigee/keys"
)

func TestValidate(t *testing.T) {
	long := strings.Repeat("s", minToken)
	for _, tc := range []struct {
		name string
		sets []string
		want string // of the error; "" is none
	}{
		{"defaults", nil, ""},
		{"region", []string{"region=EU West"}, `--set region: region: "EU West" is no name`},
		{"level", []string{"log.level=inof"}, `"inof" is none of debug, info, warn, error; did you mean "info"?`},
		{"zone", []string{"zone.name=Perigee.Test."}, "zone.name"},
		{"name servers", []string{"zone.ns="}, "at least one name server"},
		{"mail", []string{"zone.mail=nobody"}, "no mail address"},
		{"port", []string{"zone.port=99999"}, "no port"},
		{"scheme", []string{"zone.scheme=ftp"}, "none of http, https"},
		{"listen", []string{"api.listen=8080"}, `"8080" is no address to listen on`},
		{"listen port", []string{"dns.listen=127.0.0.1:70000"}, "no address to listen on"},
		{"site", []string{"api.default_site=WWW"}, "api.default_site"},
		{"upload", []string{"api.max_upload=0"}, "api.max_upload"},
		{"session", []string{"api.session=1s"}, "between 1m and 720h"},
		{"collector faster than an upload", []string{"api.collect_after=24h"}, "--set api.collect_after: api.collect_after: 24h is not between 24h and 87600h: an upload may take 24h"},
		{"collector's default in minutes", []string{"api.collect_after=1500m"}, ""},
		{"keys used again too soon", []string{"api.collect_again=15m"}, "a delete whose answer was lost may be carried out 15m later"},
		{"catalogue of no kind", []string{"catalog.kind=postgresql"}, `"postgresql" is none of sqlite, postgres; did you mean "postgres"?`},
		{"catalogue nowhere", []string{"catalog.kind=postgres"}, "catalog.dsn: catalog.kind is postgres: write where it is"},
		{"catalogue not used", []string{"catalog.dsn=host=h"}, "set catalog.kind to postgres"},
		{"no connection string", []string{"catalog.kind=postgres", "catalog.dsn=localhost"}, "it is no connection string"},
		{"catalogue", []string{"catalog.kind=postgres", "catalog.dsn=postgres://u:secret@h/db?sslmode=disable", "catalog.replicas=h2,h3:5433,/run/pg"}, ""},
		{"replica with a user", []string{"catalog.kind=postgres", "catalog.dsn=host=h", "catalog.replicas=u@h"}, `"u@h" is no replica`},
		{"replicas of SQLite", []string{"catalog.replicas=h"}, "catalog.kind is sqlite, which has none"},
		{"catalogue's time", []string{"catalog.timeout=1ms"}, "catalog.timeout: 1ms is not between"},
		{"catalogue's connections", []string{"catalog.connections=1"}, "between 4 and 1000"},
		{"endpoint", []string{"storage.endpoint=127.0.0.1:9000"}, "storage.endpoint"},
		{"endpoint with password", []string{"storage.endpoint=http://u:p@h:1"}, "carries a password"},
		{"bucket", []string{"storage.bucket=My_Bucket"}, "no bucket name"},
		{"half a pair", []string{"storage.access_key=a"}, "storage.access_key: storage.secret_key is missing"},
		{"half an edge pair", []string{"storage.edge_secret_key=a"}, "edge_access_key"},
		{"one account", []string{"bus.edge_user=control"}, "two different accounts"},
		{"key peer", []string{"dns.key_peers=ns2.example.org"}, "dns.key_peers: \"ns2.example.org\" is no identity of a node: it is \"pn1-\" and 43 characters; `perigee dns keys identity` prints it"},
		{"key peers", []string{"dns.key_peers=pn1-" + strings.Repeat("A", 43) + ",pn1-B" + strings.Repeat("A", 42)}, ""},
		{"key peer twice", []string{"dns.key_peers=pn1-" + strings.Repeat("A", 43) + ",pn1-" + strings.Repeat("A", 43)}, "is there twice"},
		{"secret of a key peer", []string{"dns.key_peers=perigee-node-secret-1 " + strings.Repeat("A", 43) + "="}, "the secret half"},
		{"TTL", []string{"dns.ttl=1500ms"}, "whole number of seconds"},
		{"DNS log", []string{"dns.log.format=combined"}, "none of text, json"},
		{"DNS log of nothing", []string{"dns.log.sample=0"}, "no part of the queries"},
		{"DNS log of more than all", []string{"dns.log.sample=100"}, "no part of the queries"},
		{"DNS clients", []string{"dns.log.client=/24"}, "address, none, or the bits"},
		{"whole DNS clients", []string{"dns.log.client=address", "dns.log.sample=0.01"}, ""},
		{"DNS log size", []string{"dns.log.max_size=1kB"}, "too small"},
		{"older taps", []string{"dns.tap.keep=1001"}, "dns.tap.keep"},
		{"tap", []string{"dns.tap.socket=collector"}, "is no collector; write host:port"},
		{"tap socket", []string{"dns.tap.socket=/run/dnstap.sock"}, ""},
		{"two taps", []string{"dns.tap.socket=collector:6000", "dns.tap.file=/f"}, "one of them"},
		{"tap into the log", []string{"dns.tap.file=/f", "dns.log.path=/f"}, "a file of its own"},
		{"rate", []string{"dns.limit.nxdomain=-1"}, "dns.limit.nxdomain: -1 is no rate"},
		{"rate of all", []string{"dns.limit.all=1000000"}, "dns.limit.all"},
		{"burst", []string{"dns.limit.burst=1ms"}, "dns.limit.burst"},
		{"slip", []string{"dns.limit.slip=11"}, "dns.limit.slip"},
		{"network", []string{"dns.limit.ipv6=129"}, "dns.limit.ipv6"},
		{"no limit", []string{"dns.limit.enabled=false", "dns.limit.exempt="}, ""},
		{"cookie key", []string{"dns.cookies.secret=short"}, "dns.cookies.secret: it has 5 characters"},
		{"cookie rollover", []string{"dns.cookies.rollover=1m"}, "dns.cookies.rollover"},
		{"fixed cookie secret", []string{"dns.cookies.rollover=0s", "dns.cookies.secret=" + strings.Repeat("z", 32)}, "32 hexadecimal digits"},
		{"no cookie secret", []string{"dns.cookies.rollover=0s"}, "32 hexadecimal digits"},
		{"previous cookie secret", []string{"dns.cookies.rollover=0s", "dns.cookies.secret=" + strings.Repeat("a", 32), "dns.cookies.previous=b"}, "dns.cookies.previous"},
		{"fixed cookie secrets", []string{"dns.cookies.rollover=0s", "dns.cookies.secret=" + strings.Repeat("a", 32), "dns.cookies.next=" + strings.Repeat("b", 32)}, ""},
		{"derived and given", []string{"dns.cookies.next=" + strings.Repeat("b", 32)}, "leave them out"},
		{"no cookies", []string{"dns.cookies.enabled=false", "dns.cookies.rollover=0s"}, ""},
		{"GeoIP twice", []string{"dns.geo=a.mmdb,b.mmdb,a.mmdb"}, "a.mmdb stands there twice"},
		{"GeoIP files without URLs", []string{"dns.geo=a.mmdb,b.mmdb", "dns.geo_update.url=https://h/x"}, "1 URLs for 2 files"},
		{"a URL for the default file", []string{"dns.geo_update.url=https://h/dbip-{yyyy}-{mm}.mmdb.gz"}, ""},
		{"MaxMind without a key", []string{"dns.geo_update.url=maxmind:GeoLite2-City"}, "MaxMind asks for credentials"},
		{"MaxMind", []string{"dns.geo_update.url=maxmind:GeoLite2-City", "dns.geo_update.account=1", "dns.geo_update.license_key=k"}, ""},
		{"half of the credentials", []string{"dns.geo_update.account=1"}, "dns.geo_update.license_key is missing"},
		{"a key in the clear", []string{"dns.geo_update.url=http://h/x", "dns.geo_update.account=1", "dns.geo_update.license_key=k"}, "in the clear"},
		{"a GeoIP URL with a password", []string{"dns.geo_update.url=https://u:p@h/x"}, "carries a password"},
		{"no GeoIP source", []string{"dns.geo_update.url=geo.mmdb"}, "it is no source"},
		{"a GeoIP file", []string{"dns.geo_update.url=/srv/geo.mmdb"}, ""},
		{"GeoIP too often", []string{"dns.geo_update.every=1s"}, "between 1m and 2160h"},
		{"GeoIP size", []string{"dns.geo_update.max_size=2GB"}, "between 1KiB and 1GiB"},
		{"GeoIP checksum", []string{"dns.geo_update.checksum=sha256"}, "{url}.sha256"},
		{"GeoIP beside its checksum", []string{"dns.geo_update.checksum={url}.sha256", "dns.geo_update.allow=10.0.0.0/8"}, ""},
		{"nowhere", []string{"edges.fra.place.lat=91"}, "is nowhere"},
		{"NaN", []string{"edges.fra.place.lat=NaN"}, "is nowhere"},
		{"country", []string{"edge.place.country=Germany"}, "two capital letters"},
		{"cache", []string{"edge.cache_size=5"}, "too small"},
		{"partition", []string{"edge.on_partition=panic"}, "none of serve, refuse"},
		{"probe too often", []string{"probe.every=10ms"}, "between 100ms and 1m"},
		{"probe without patience", []string{"probe.timeout=1ms"}, "between 10ms and 1m"},
		{"probe without end", []string{"probe.down=0"}, "between 1 and 100"},
		{"probe path", []string{"probe.path=x"}, "begins with '/'"},
		{"probe host", []string{"probe.host=a b"}, "host"},
		{"probe a site", []string{"probe.host=www.perigee.test", "probe.path=/robots.txt"}, ""},
		{"log format", []string{"edge.access_log.format=apache"}, "none of combined, json"},
		{"log size", []string{"edge.access_log.max_size=1kB"}, "too small"},
		{"log without bound", []string{"edge.access_log.max_size=0"}, ""},
		{"older logs", []string{"edges.fra.access_log.keep=-1"}, "between 0 and 1000"},
		{"one log for all", []string{"edge.access_log.path=/var/log/access.log"}, "put {name} into the path"},
		{"a log each", []string{"edge.access_log.path=/var/log/{name}.log"}, ""},
		{"all on one stream", []string{"edge.access_log.path=-"}, ""},
		{"same address", []string{"edges.fra.listen=127.0.1.2:8100"}, "clients cannot tell"},
		{"public edges and DNS", []string{"edge.listen=0.0.0.0:80", "dns.listen=:53"}, ""},

		{"API beyond loopback", []string{"api.listen=0.0.0.0:8080"}, "perigee keys create"},
		{"API beyond loopback with a key", []string{"api.listen=0.0.0.0:8080", "api.key=" + strings.Repeat("k", keys.MinEnvKey)}, ""},
		{"API beyond loopback, keys in the catalogue", []string{"api.listen=0.0.0.0:8080", "api.keys=catalogue"}, ""},
		{"keys nowhere", []string{"api.keys=catalog"}, "catalogue"},
		{"keys that are forgotten at once", []string{"api.keys_stale=1s"}, "between 10s and"},
		{"keys for ever", []string{"api.keys_stale=0s"}, ""},
		{"a short session key", []string{"api.session_key=short"}, "at least 32"},
		{"API with a short key", []string{"api.key=short"}, "at least 32"},
		{"storage beyond loopback", []string{"storage.embedded.listen=:9000"}, "storage.secret_key"},
		{"storage with keys", []string{"storage.embedded.listen=:9000", "storage.access_key=a", "storage.secret_key=" + long, "storage.edge_access_key=b", "storage.edge_secret_key=" + long}, ""},
		{"storage with a weak key", []string{"storage.embedded.listen=:9000", "storage.access_key=a", "storage.secret_key=minioadmin", "storage.edge_access_key=b", "storage.edge_secret_key=" + long}, "storage.secret_key"},
		{"one key for both", []string{"storage.access_key=a", "storage.secret_key=" + long, "storage.edge_access_key=a", "storage.edge_secret_key=" + long}, "key of their own"},
		{"bus beyond loopback", []string{"bus.listen=0.0.0.0:4222"}, "bus.control_password"},
		{"bus with passwords", []string{"bus.listen=0.0.0.0:4222", "bus.control_password=" + long, "bus.edge_password=" + long}, ""},
		{"admin beyond loopback", []string{"admin.listen=0.0.0.0:8081"}, "admin.token"},
		{"edge admin beyond loopback", []string{"edges.fra.admin=0.0.0.0:8081"}, "admin.token"},
		{"admin with a token", []string{"admin.listen=0.0.0.0:8081", "dns.admin=:1", "admin.token=" + long}, ""},
		{"short token", []string{"admin.token=abc"}, "at least 16"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load("", nil, append([]string{"data=" + t.TempDir()}, tc.sets...))
			if err != nil {
				t.Fatal(err)
			}
			err = c.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestValidateSeesKeysOnDiskAndSecretsMadeAtTheFirstStart(t *testing.T) {
	dir := t.TempDir()
	c, err := Load("", nil, []string{"data=" + dir, "api.listen=:8080", "bus.listen=:4222", "storage.embedded.listen=:9000"})
	if err != nil {
		t.Fatal(err)
	}
	var ms Mistakes
	if err := c.Validate(); !errors.As(err, &ms) || len(ms) < 3 {
		t.Fatal(err)
	}
	ring, err := keys.Open(keys.Config{File: c.API.KeysFile})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ring.Create(t.Context(), keys.NewKey{Name: "me", Scopes: []keys.Scope{keys.ScopeAdmin}}); err != nil {
		t.Fatal(err)
	}
	s, err := Secrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.UseSecrets(s)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
}

// TestWhereKeysAre: nodes that share a catalogue share the keys unless it is said otherwise.
func TestWhereKeysAre(t *testing.T) {
	for _, c := range []struct {
		sets []string
		want bool
	}{
		{nil, false},
		{[]string{"catalog.kind=postgres", "catalog.dsn=host=db"}, true},
		{[]string{"catalog.kind=postgres", "catalog.dsn=host=db", "api.keys=file"}, false},
		{[]string{"api.keys=catalogue"}, true},
	} {
		cfg, err := Load("", nil, c.sets)
		if err != nil || cfg.KeysInCatalogue() != c.want {
			t.Errorf("%v: %v, %v", c.sets, cfg.KeysInCatalogue(), err)
		}
	}
}
