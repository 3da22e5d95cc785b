package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDefaultsAreTheContract(t *testing.T) {
	c := Default()
	for _, tc := range []struct{ what, got, want string }{
		{"console", c.API.URL(), "http://127.0.0.1:8080"},
		{"DNS", c.DNS.Listen, "127.0.0.1:5300"},
		{"zone", c.Zone.Name, "perigee.test"},
		{"URL", c.Zone.URLBase(c.Zone.HostOf("www")), "http://www.perigee.test:8100"},
		{"S3", c.Storage.Endpoint, "http://127.0.0.1:9000"},
		{"bus", c.Bus.URL, "nats://127.0.0.1:4222"},
		{"admin", c.Admin.Listen, "127.0.0.1:8081"},
		{"TTL", c.DNS.TTL.String(), "20s"},
		{"cache", c.Edges[0].CacheSize.String(), "10GB"},
		{"edge directory", c.Edges[2].Cache, "data/edges/sin"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, tc.got, tc.want)
		}
	}
	want := map[string]string{"fra": "127.0.1.1:8100", "nyc": "127.0.1.2:8100", "sin": "127.0.1.3:8100"}
	if len(c.Edges) != 3 {
		t.Fatalf("%d edges", len(c.Edges))
	}
	for _, e := range c.Edges {
		if e.Listen != want[e.Name] || e.Place.Country == "" || e.PublicAddrs()[0].String() != want[e.Name] {
			t.Errorf("edge %+v", e)
		}
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if !c.Storage.IsEmbedded() || !c.Bus.IsEmbedded() {
		t.Error("the defaults do not run the embedded servers")
	}
}

func TestEveryKeyStandsInTheReference(t *testing.T) {
	var ms Mistakes
	tree := parseTree("default.yaml", []byte(DefaultYAML), fromDefault, &ms)
	for _, key := range schema() {
		if strings.HasSuffix(key, secretFile) && slices.Contains(schema(), strings.TrimSuffix(key, secretFile)) {
			continue
		}
		n := tree
		for part := range strings.SplitSeq(key, ".") {
			if n != nil {
				n = n.table[part]
			}
		}
		if n == nil {
			t.Errorf("default.yaml does not mention %s", key)
		}
	}
	if len(ms) > 0 {
		t.Error(ms)
	}
}

func TestVariableNamesAreUnambiguous(t *testing.T) {
	var ms Mistakes
	seen := map[string]string{}
	for _, name := range otherEnv {
		seen[name] = name
	}
	for _, key := range settable(parseTree("default.yaml", []byte(DefaultYAML), fromDefault, &ms)) {
		name := envName(key)
		if other, ok := seen[name]; ok {
			t.Errorf("%s means both %s and %s", name, other, key)
		}
		if serviceLink.MatchString(name) && name != "PERIGEE_ZONE_PORT" {
			t.Errorf("%s looks like a variable of Kubernetes", name)
		}
		seen[name] = key
	}
}

func TestLayers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "perigee.yaml")
	write(t, file, "api: {listen: 127.0.0.1:1, max_upload: 1GB}\nedge:\n  ram: 1MiB\n  place: {name: Lyon}\nedges:\n"+
		"- {name: a-b, ram: 3MiB}\n- {name: c, place: {lat: 45}}\n- name: one\n  addrs: '192.0.2.9:1'\nzone: {ns: [ns1.x.test, ns2.x.test]}\nlog:\n")
	c, err := Load(file, []string{"PERIGEE_API_LISTEN=127.0.0.1:2", "PERIGEE_API_SESSION=", "PERIGEE_EDGES_A_B_CACHE=/env", "HOME=/x",
		"PERIGEE_EDGE_ADDRS=192.0.2.1:80, [2001:db8::1]:80", "PERIGEE_WEB_SERVICE_HOST=10.0.0.1", "PERIGEE_WEB_PORT_80_TCP=tcp://10.0.0.1:80", "PERIGEE_KEY=pk_1"},
		[]string{"api.listen=127.0.0.1:3", "edges.c.place.lon=4.8", "edge.cache_size=2GB", "zone.mail=a=b@x.test"})
	if err != nil {
		t.Fatal(err)
	}
	addrs := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")}
	for _, tc := range []struct {
		what      string
		got, want any
	}{
		{"set over env over file", c.API.Listen, "127.0.0.1:3"},
		{"file", c.API.MaxUpload, Bytes(1e9)},
		{"empty variable", c.API.Session.Std(), 12 * time.Hour},
		{"default", c.API.DefaultSite, "www"},
		{"list", c.Zone.NS, []string{"ns1.x.test", "ns2.x.test"}},
		{"list of one", c.Edges[2].Addrs, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:1")}},
		{"value with =", c.Zone.Mail, "a=b@x.test"},
		{"edge over its section", c.Edges[0].RAM, Bytes(3 << 20)},
		{"edge from its section", c.Edges[1].RAM, Bytes(1 << 20)},
		{"edge from its section by flag", c.Edges[0].CacheSize, Bytes(2e9)},
		{"edge by variable", c.Edges[0].Cache, "/env"},
		{"edge by flag", c.Edges[1].Place, Place{Name: "Lyon", Lat: 45, Lon: 4.8}},
		{"list by variable", c.Edges[1].Addrs, addrs},
		{"number of edges", len(c.Edges), 3},
		{"origin of a flag", c.Origin("api.listen"), "--set api.listen"},
		{"origin in the file", c.Origin("api.max_upload"), file + ":1"},
		{"origin of a variable", c.Origin("edges.a-b.cache"), "PERIGEE_EDGES_A_B_CACHE"},
		{"empty section", c.Log.Level, "info"},
	} {
		if !reflect.DeepEqual(tc.got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, tc.got, tc.want)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, tc := range []struct{ name, file, env, set, want string }{
		{"unknown key", "api:\n  listn: x\n", "", "", `perigee.yaml:2: api.listn: unknown key; did you mean "listen"?`},
		{"swapped letters", "api: {lsiten: x}\n", "", "", `perigee.yaml:1: api.lsiten: unknown key; did you mean "listen"?`},
		{"unknown section", "\nstorge: {}\n", "", "", `perigee.yaml:2: storge: unknown key; did you mean "storage"?`},
		{"key of another section", "max_upload: 1GB\n", "", "", `perigee.yaml:1: max_upload: unknown key; did you mean "api.max_upload"?`},
		{"nothing near", "log: {zebra: 1}\n", "", "", `perigee.yaml:1: log.zebra: unknown key; the keys here are level, format`},
		{"key twice", "api:\n  listen: a:1\n  listen: b:1\n", "", "", `perigee.yaml:3: api.listen: the key is there twice; it was first given at perigee.yaml:2`},
		{"size", "api: {max_upload: 10 parsec}\n", "", "", `perigee.yaml:1: api.max_upload: "10 parsec" is no size; write a number with a unit, such as 512B, 64kB, 256MiB or 10GB`},
		{"duration", "dns: {ttl: 20}\n", "", "", `perigee.yaml:1: dns.ttl: "20" is no duration; write a number with a unit, such as 500ms, 20s or 12h`},
		{"boolean", "storage: {path_style: maybe}\n", "", "", `perigee.yaml:1: storage.path_style: expected true or false, not "maybe"`},
		{"whole number", "zone: {port: eighty}\n", "", "", `perigee.yaml:1: zone.port: expected a whole number, not "eighty"`},
		{"number", "edge: {place: {lat: north}}\n", "", "", `perigee.yaml:1: edge.place.lat: expected a number, not "north"`},
		{"address", "edge: {addrs: [nowhere]}\n", "", "", `perigee.yaml:1: edge.addrs: not an ip:port`},
		{"section for text", "region: {a: 1}\n", "", "", `perigee.yaml:1: region: expected a text; write "" for none`},
		{"no value", "region:\n", "", "", `perigee.yaml:1: region: expected a text; write "" for none`},
		{"text for section", "api: 8080\n", "", "", `perigee.yaml:1: api: expected a section with keys such as listen, public_url, default_site`},
		{"section for list", "zone: {ns: {a: b}}\n", "", "", `perigee.yaml:1: zone.ns: expected a list, such as [a, b]`},
		{"list of sections", "zone: {ns: [{a: 1}]}\n", "", "", `perigee.yaml:1: zone.ns: expected a list of plain values`},
		{"edges", "edges: fra\n", "", "", `perigee.yaml:1: edges: expected a list of edges, each beginning with "- name: …"`},
		{"edge without a name", "edges:\n- listen: 127.0.0.1:1\n", "", "", `perigee.yaml:2: edges[0]: the edge has no name`},
		{"key of an edge", "edges:\n- name: fra\n  cach: x\n", "", "", `perigee.yaml:3: edges.fra.cach: unknown key; did you mean "cache"?`},
		{"not YAML", "api:\n\tlisten: x\n", "", "", `perigee.yaml:2: this is not YAML: found character that cannot start any token`},
		{"unclosed", "api: {listen: [\n", "", "", `perigee.yaml:`},
		{"only a value", "42\n", "", "", `perigee.yaml:1: expected sections such as "api:", not a single value`},
		{"two documents", "{}\n---\n{}\n", "", "", `perigee.yaml:2: a second document begins here; one file is one document`},
		{"alias", "region: &r eu\ncatalog: {path: *r}\n", "", "", `perigee.yaml:2: YAML aliases (*name) are not supported; write the value out`},
		{"variable", "", "PERIGEE_API_LISTN=x", "", `PERIGEE_API_LISTN: no key has this name; did you mean "PERIGEE_API_LISTEN"?`},
		{"variable of an edge", "", "PERIGEE_EDGES_FRA_RMA=1", "", `PERIGEE_EDGES_FRA_RMA: no key has this name; did you mean "PERIGEE_EDGES_FRA_RAM"?`},
		{"value of a variable", "", "PERIGEE_EDGE_RAM=much", "", `PERIGEE_EDGE_RAM: edge.ram: "much" is no size; write a number with a unit, such as 512B, 64kB, 256MiB or 10GB`},
		{"flag", "", "", "api.lisen=x", `--set api.lisen: unknown key; did you mean "api.listen"?`},
		{"flag without value", "", "", "api.listen", `--set api.listen: write it as key=value, for example --set api.listen=127.0.0.1:8080`},
		{"flag for a section", "", "", "dns=5300", `--set dns: dns is a section; set one of its keys, such as dns.listen`},
		{"value of a flag", "", "", "dns.ttl=soon", `--set dns.ttl: dns.ttl: "soon" is no duration; write a number with a unit, such as 500ms, 20s or 12h`},
		{"missing secret file", "admin: {token_file: /nonexistent/token}\n", "", "", `perigee.yaml:1: admin.token_file: open /nonexistent/token: no such file or directory`},
		{"secret twice", "admin: {token: abc, token_file: /x}\n", "", "", `perigee.yaml:1: admin.token: it is given here and as admin.token_file at perigee.yaml:1; keep one`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load("perigee.yaml", []byte(tc.file), []string{tc.env}, nonEmpty(tc.set))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func TestAllMistakesAreReportedAtOnceByLine(t *testing.T) {
	_, err := load("perigee.yaml", []byte("zone: {port: x}\napi: {listn: a}\nedge: {ram: lots}\nlog: 5\n"), []string{"PERIGEE_NOPE=1"}, []string{"nope=1"})
	var ms Mistakes
	if !errors.As(err, &ms) {
		t.Fatal(err)
	}
	var where []string
	for _, m := range ms {
		where = append(where, m.Where)
	}
	// edge.ram is wrong in one place, though three edges take it over.
	want := []string{"perigee.yaml:1", "perigee.yaml:2", "perigee.yaml:3", "perigee.yaml:4", "PERIGEE_NOPE", "--set nope"}
	if !slices.Equal(where, want) {
		t.Fatalf("%v, want %v", where, want)
	}
}

func TestFileLimits(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	write(t, big, strings.Repeat("#", maxFile+1))
	if _, err := Load(big, nil, nil); err == nil {
		t.Error("a file over the limit was read")
	}
	if _, err := load("deep", []byte(strings.Repeat("{a: ", 50)+"1"+strings.Repeat("}", 50)), nil, nil); err == nil {
		t.Error("a bottomless file was read")
	}
	for _, empty := range []string{"", "\n# nothing\n", "---\n", "null\n"} {
		if _, err := load("perigee.yaml", []byte(empty), nil, nil); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestShownConfigurationLoadsAgain(t *testing.T) {
	c, err := load("perigee.yaml", []byte("edges: [{name: x, addrs: ['192.0.2.1:80']}]\ndata: /d\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, origins := range []bool{false, true} {
		text, err := c.YAML(origins)
		if err != nil {
			t.Fatal(err)
		}
		again, err := load("shown.yaml", []byte(text), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		again.origins = c.origins
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("differs:\n%s", text)
		}
	}
}

func TestEdgeNamed(t *testing.T) {
	c := Default()
	for _, name := range []string{"", "edge", "fra", "sin"} {
		e, err := c.EdgeNamed(name)
		if err != nil || name != "" && e.Name != name {
			t.Errorf("%q: %+v, %v", name, e, err)
		}
	}
	if _, err := c.EdgeNamed("nic"); err == nil || !strings.Contains(err.Error(), `did you mean "nyc"?`) || !strings.Contains(err.Error(), "fra, nyc, sin") {
		t.Error(err)
	}
}

func TestEmbeddedServersAreRecognised(t *testing.T) {
	for _, tc := range []struct {
		url, listen string
		want        bool
	}{
		{"http://127.0.0.1:9000", "127.0.0.1:9000", true},
		{"http://localhost:9000", "0.0.0.0:9000", true},
		{"http://127.0.0.1:9000", ":9000", true},
		{"http://[::1]:9000", "[::]:9000", true},
		{"http://storage:9000", "0.0.0.0:9000", false},
		{"http://127.0.0.1:9001", "127.0.0.1:9000", false},
		{"https://s3.example.org", "127.0.0.1:9000", false},
		{"http://192.0.2.1:9000", "0.0.0.0:9000", false},
		{"http://127.0.0.1:9000", "", false},
	} {
		if got := sameServer(tc.url, tc.listen); got != tc.want {
			t.Errorf("sameServer(%s, %s) = %v", tc.url, tc.listen, got)
		}
	}
}
