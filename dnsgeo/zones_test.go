package dnsgeo

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

const exampleZone = `$ORIGIN example.org.
$TTL 3600
@            SOA   ns1 hostmaster 2026010100 7200 1800 1209600 60
             NS    ns1
             NS    ns.elsewhere.net.
             MX    10 mail
             CAA   0 issue "ca.example.net"
             HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.80
ns1          A     192.0.2.1
mail    60   AAAA  2001:db8::25
www          CNAME web.cdn
web.cdn      CNAME www.perigee.test.
host         A     192.0.2.2
             A     192.0.2.3
*.star       TXT   "from the wildcard"
*.star       MX    5 mail
one.star     A     192.0.2.4
*.alias      CNAME host
deleg        NS    ns.deleg
             NS    ns.other.net.
             DS    7 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
ns.deleg     A     192.0.2.5
             AAAA  2001:db8::5
_svc         SVCB  1 host port=8443
odd          TYPE65400 \# 4 C0000201
known        TYPE1 \# 4 c0000209
\097scaped   TXT   "the name begins with a"
old          DNAME new
x.new        A     192.0.2.6
abroad       DNAME example.com.
$GENERATE 1-3 gen$ A 192.0.2.1$
`

// withZone makes the text of a zone one that the server serves beside the steered one.
func withZone(name, text string) func(*Config) {
	return func(c *Config) { c.Zones = append(c.Zones, ZoneFile{Name: name, Text: text}) }
}

func TestOrdinaryZone(t *testing.T) {
	r := prepare(t, func(c *Config) {
		withZone("example.org", exampleZone)(c)
		withZone("Deeper.Host.example.ORG.", "@ SOA a b 7 1 1 1 9\n@ NS ns1.example.org.\n@ A 192.0.2.100\n")(c)
		withZone("sub.perigee.test", "@ SOA a b 8 1 1 1 9\n@ NS ns1.example.org.\nwww A 192.0.2.101\n")(c)
	})
	defer r.Close()
	r.names.Store(NewNames("perigee.test", []string{"www.perigee.test", "www.sub.perigee.test", "up.sub.perigee.test"}))
	const soa = "SOA ns1.example.org. hostmaster.example.org. 2026010100 7200 1800 1209600 60"
	for _, x := range []struct {
		name  string
		qtype uint16
		rcode int
		aa    bool
		want  [3]string // answer, authority, extra
	}{
		{"example.org.", dns.TypeSOA, 0, true, [3]string{soa}},
		{"EXAMPLE.org.", dns.TypeNS, 0, true, [3]string{"NS ns.elsewhere.net., NS ns1.example.org.", "", "A 192.0.2.1"}},
		{"example.org.", dns.TypeCAA, 0, true, [3]string{`CAA 0 issue "ca.example.net"`}},
		{"example.org.", dns.TypeHTTPS, 0, true, [3]string{`HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.80"`}},
		{"example.org.", dns.TypeDS, 0, true, [3]string{"", soa}},
		{"example.org.", dns.TypeA, 0, true, [3]string{"", soa}},
		{"mail.example.org.", dns.TypeAAAA, 0, true, [3]string{"AAAA 2001:db8::25"}},
		{"host.example.org.", dns.TypeA, 0, true, [3]string{"A 192.0.2.2, A 192.0.2.3"}},
		{"www.example.org.", dns.TypeA, 0, true, [3]string{"CNAME web.cdn.example.org., CNAME www.perigee.test."}},
		{"cdn.example.org.", dns.TypeA, 0, true, [3]string{"", soa}},
		{"nope.example.org.", dns.TypeA, dns.RcodeNameError, true, [3]string{"", soa}},
		// RFC 4592 §2.2.1.
		{"a.b.star.example.org.", dns.TypeTXT, 0, true, [3]string{`TXT "from the wildcard"`}},
		{"a.star.example.org.", dns.TypeA, 0, true, [3]string{"", soa}},
		{"one.star.example.org.", dns.TypeTXT, 0, true, [3]string{"", soa}},
		{"a.one.star.example.org.", dns.TypeTXT, dns.RcodeNameError, true, [3]string{"", soa}},
		{"*.star.example.org.", dns.TypeTXT, 0, true, [3]string{`TXT "from the wildcard"`}},
		{"q.*.star.example.org.", dns.TypeTXT, dns.RcodeNameError, true, [3]string{"", soa}},
		{"z.alias.example.org.", dns.TypeA, 0, true, [3]string{"A 192.0.2.2, A 192.0.2.3, CNAME host.example.org."}},
		{"a.deleg.example.org.", dns.TypeA, 0, false, [3]string{"", "NS ns.deleg.example.org., NS ns.other.net.", "A 192.0.2.5, AAAA 2001:db8::5"}},
		{"deleg.example.org.", dns.TypeDS, 0, true, [3]string{"DS 7 13 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"}},
		{"_svc.example.org.", dns.TypeSVCB, 0, true, [3]string{`SVCB 1 host.example.org. port="8443"`}},
		{"odd.example.org.", 65400, 0, true, [3]string{`TYPE65400 \# 4 c0000201`}},
		{"known.example.org.", dns.TypeA, 0, true, [3]string{"A 192.0.2.9"}},
		{"ascaped.example.org.", dns.TypeTXT, 0, true, [3]string{`TXT "the name begins with a"`}},
		{"gen2.example.org.", dns.TypeA, 0, true, [3]string{"A 192.0.2.12"}},
		// RFC 6672.
		{"old.example.org.", dns.TypeDNAME, 0, true, [3]string{"DNAME new.example.org."}},
		{"old.example.org.", dns.TypeA, 0, true, [3]string{"", soa}},
		{"x.OLD.example.org.", dns.TypeA, 0, true, [3]string{"A 192.0.2.6, CNAME x.new.example.org., DNAME new.example.org."}},
		{"x.old.example.org.", dns.TypeCNAME, 0, true, [3]string{"CNAME x.new.example.org., DNAME new.example.org."}},
		{"y.old.example.org.", dns.TypeA, dns.RcodeNameError, true, [3]string{"CNAME y.new.example.org., DNAME new.example.org.", soa}},
		{"a.b.abroad.example.org.", dns.TypeA, 0, true, [3]string{"CNAME a.b.example.com., DNAME example.com."}},
		// The longest match answers; a DS record belongs above.
		{"deeper.host.example.org.", dns.TypeA, 0, true, [3]string{"A 192.0.2.100"}},
		{"deeper.host.example.org.", dns.TypeDS, dns.RcodeNameError, true, [3]string{"", soa}},
		{"x.deeper.host.example.org.", dns.TypeA, dns.RcodeNameError, true, [3]string{"", "SOA a.deeper.host.example.org. b.deeper.host.example.org. 7 1 1 1 9"}},
		{"www.sub.perigee.test.", dns.TypeA, 0, true, [3]string{"A 192.0.2.101"}},
		{"up.sub.perigee.test.", dns.TypeA, dns.RcodeNameError, true, [3]string{"", "SOA a.sub.perigee.test. b.sub.perigee.test. 8 1 1 1 9"}},
		{"www.perigee.test.", dns.TypeA, 0, true, [3]string{"A 127.0.1.1"}},
		{"org.", dns.TypeNS, dns.RcodeRefused, false, [3]string{}},
		{"xexample.org.", dns.TypeNS, dns.RcodeRefused, false, [3]string{}},
	} {
		m := r.direct(question(x.name, x.qtype, ""), "81.2.69.142")
		got := [3]string{section(m.Answer), section(m.Ns), section(m.Extra)}
		if m.Rcode != x.rcode || m.Authoritative != x.aa || got != x.want {
			t.Errorf("%s %s: %s, AA %v, %q; want %s, AA %v, %q", x.name, dns.Type(x.qtype), dns.RcodeToString[m.Rcode], m.Authoritative, got,
				dns.RcodeToString[x.rcode], x.aa, x.want)
		}
	}
	long := strings.Repeat("a123456789.", 20) + "abroad.example.org."
	z, err := newOrdinaryZone("example.org", textSource("@ SOA a b 1 1 1 1 1\n@ NS a\nabroad DNAME "+strings.Repeat("b123456789.", 10)+"test."))
	if err != nil {
		t.Fatal(err)
	}
	if f := z.resolve(nil, long, dns.TypeA); f.rcode != dns.RcodeYXDomain || len(f.answer) != 1 {
		t.Errorf("a DNAME that makes a name too long: %+v", f)
	}
}

func TestZonesRefused(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside.inc")
	if err := os.WriteFile(outside, []byte("secret A 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.inc")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.zone")
	const head = "@ SOA a b 1 1 1 1 1\n@ NS a\n"
	for name, x := range map[string]struct{ text, says string }{
		"no SOA":                   {"@ NS a\n", "no SOA record"},
		"no NS":                    {"@ SOA a b 1 1 1 1 1\n", "no NS record"},
		"empty":                    {"", "no SOA record"},
		"outside":                  {head + "www.example.com. A 192.0.2.1", "outside the zone"},
		"a word":                   {head + "x A\n", "it has no data"},
		"a word too many":          {head + "x A 192.0.2.1 y\n", "x.zone"},
		"include outside":          {head + "$INCLUDE ../outside.inc\n", "../outside.inc"},
		"include absolute":         {head + "$INCLUDE " + outside + "\n", "no such file"},
		"include through a link":   {head + "$INCLUDE link.inc\n", "escapes"},
		"include of a directory":   {head + "$INCLUDE .\n", "regular file"},
		"include of itself":        {head + "$INCLUDE x.zone\n", "too deeply nested"},
		"include of nothing":       {head + "$INCLUDE none.inc\n", "no such file"},
		"include of itself, often": {strings.Repeat("$INCLUDE x.zone\n", 300), "too deeply nested"},
		"GENERATE without end":     {head + "$GENERATE 1-99999999 x$ A 192.0.2.1\n", "bad range"},
		"too many of a name":       {head + "$GENERATE 0-65535 x TXT $\n", "at most 1000 records of one type"},
		"two SOAs":                 {head + "@ SOA a b 2 1 1 1 1\n", "more than one SOA"},
		"a huge record":            {head + "@ TYPE65400 \\# 60001 " + strings.Repeat("00", 60001) + "\n", "the limit is 60000"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(x.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := newOrdinaryZone("example.org", fileSource(file)); err == nil || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%v, want %q", err, x.says)
			}
		})
	}
	for name, x := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"twice": {func(c *Config) { withZone("x.org", head)(c); withZone("X.org.", head)(c) }, "there twice"},
		"records of the steered one": {func(c *Config) {
			withZone("perigee.test", "")(c)
			withZone("perigee.test", "")(c)
			c.Records = "x A 192.0.2.1"
		}, "given twice"},
		"steered one to secondaries": {func(c *Config) {
			c.Records, c.Zones = "", []ZoneFile{{Name: "perigee.test", Transfer: Transfer{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}}
		}, "cannot be transferred"},
		"key that is not there": {func(c *Config) {
			c.Zones = []ZoneFile{{Name: "x.org", Text: head, Transfer: Transfer{Keys: []string{"k"}}}}
		}, `"k" of its transfers is not known`},
		"weak key":                  {func(c *Config) { c.TSIGKeys = []TSIGKey{{"k", "hmac-sha256", []byte("short")}} }, "at least 16"},
		"old algorithm":             {func(c *Config) { c.TSIGKeys = []TSIGKey{{"k", "hmac-md5", make([]byte, 16)}} }, "hmac-sha512"},
		"secondary nowhere":         {func(c *Config) { c.Zones = []ZoneFile{{Name: "x.org", Text: head, Notify: make([]NotifyTarget, 1)}} }, "no address"},
		"file that is not there":    {func(c *Config) { c.Zones = []ZoneFile{{Name: "x.org", Path: filepath.Join(dir, "none")}} }, "no such file"},
		"TLS without a certificate": {func(c *Config) { c.ListenTLS = "127.0.0.1:0" }, "TLS is required"},
	} {
		t.Run(name, func(t *testing.T) {
			r := prepare(t, nil)
			defer r.Close()
			c := Config{Listen: "127.0.0.1:0", Zone: "perigee.test", Servers: []NameServer{{Name: "ns.example.com"}},
				Names: r.names.Load, Fleet: r.fleet.Load, Geo: r.geo, Log: r.log, Clock: r.clock}
			x.change(&c)
			s, err := New(c)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%v, want %q", err, x.says)
			}
		})
	}
}

// TestZonesAreBounded: what counts is what was read, records that were there already included.
func TestZonesAreBounded(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*zone)
		says   string
	}{
		"records": {func(z *zone) { z.parsed = maxZoneRecords - 9 }, "at most 1048576 records"},
		"bytes":   {func(z *zone) { z.bytes = maxZoneText - 300 }, "at most 67108864 bytes"},
	} {
		z, err := emptyZone("example.org")
		if err != nil {
			t.Fatal(err)
		}
		x.change(z)
		if err := z.load(textSource("$GENERATE 1-9 x A 192.0.2.1\n")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := z.load(textSource("x A 192.0.2.1\n")); name == "records" && err == nil {
			t.Errorf("%s: a record too many was taken", name)
		}
		if err := z.load(textSource("x TXT " + long(300) + "\n")); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newOrdinaryZone("example.org", textSource(strings.Repeat("; nothing\n", maxZoneText/10+1))); err == nil || !strings.Contains(err.Error(), "the limit is 67108864") {
		t.Errorf("a long text: %v", err)
	}
}

// TestReload goes through the life of a zone file, with the clock of synctest.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	file, include := filepath.Join(dir, "zone"), filepath.Join(dir, "inc", "hosts")
	if err := os.Mkdir(filepath.Dir(include), 0o700); err != nil {
		t.Fatal(err)
	}
	changes := 0
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// The clock of files stands still in a bubble of synctest's clock; each change has a time of its own.
		changes++
		at := time.Date(1999, 1, 1, 0, 0, changes, 0, time.UTC)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	zoneText := func(serial int, more string) string {
		return fmt.Sprintf("@ SOA ns hostmaster %d 1 1 1 1\n@ NS ns\n$GENERATE 1-9 n$ A 192.0.2.1\n$INCLUDE inc/hosts\n%s", serial, more)
	}
	write(file, zoneText(10, ""))
	write(include, "a A 192.0.2.10\n")
	world := embedded(t)
	synctest.Test(t, func(t *testing.T) {
		_ = world
		r := prepare(t, func(c *Config) { c.Listen = ""; c.Zones = []ZoneFile{{Name: "example.org", Path: file}} })
		stop := make(chan struct{})
		ctx := t.Context()
		go func() { r.zones.run(ctx, false); close(stop) }()
		at := r.zones.byName["example.org."]
		for _, step := range []struct {
			name   string
			change func()
			serial uint32
			a      string
			deltas int
			errs   uint64
		}{
			{"nothing", func() {}, 10, "192.0.2.10", 0, 0},
			{"the same again", func() { write(file, zoneText(10, "")) }, 10, "192.0.2.10", 0, 0},
			{"a new record", func() { write(file, zoneText(11, "b A 192.0.2.11\n")) }, 11, "192.0.2.10", 1, 0},
			{"a mistake", func() { write(file, zoneText(12, "b A nonsense\n")) }, 11, "192.0.2.10", 1, 1},
			{"the mistake stays", func() {}, 11, "192.0.2.10", 1, 1},
			{"the include changes", func() {
				write(file, zoneText(12, ""))
				write(include, "a A 192.0.2.20\n")
			}, 12, "192.0.2.20", 2, 1},
			{"the include is gone", func() {
				if err := os.Remove(include); err != nil {
					t.Fatal(err)
				}
			}, 12, "192.0.2.20", 2, 2},
			{"the include is back", func() { write(include, "a A 192.0.2.21\n"); write(file, zoneText(13, "")) }, 13, "192.0.2.21", 3, 2},
			{"the serial number goes back", func() { write(file, zoneText(9, "c A 192.0.2.12\n")) }, 9, "192.0.2.21", 0, 2},
			{"the serial number stays", func() { write(file, zoneText(9, "")) }, 9, "192.0.2.21", 0, 2},
			{"the file is empty", func() { write(file, "") }, 9, "192.0.2.21", 0, 3},
		} {
			step.change()
			time.Sleep(3 * reloadEvery)
			synctest.Wait()
			v := at.current.Load()
			m := r.direct(question("a.example.org.", dns.TypeA, ""), "192.0.2.1")
			if v.serial() != step.serial || address(t, m) != step.a || len(v.journal) != step.deltas || r.Counters().ZoneErrors.Load() != step.errs {
				t.Errorf("%s: serial %d, %s, %d deltas, %d errors; want %+v", step.name, v.serial(), address(t, m), len(v.journal), r.Counters().ZoneErrors.Load(), step)
			}
		}
	})
}

func TestTheSteeredZoneMayHaveAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "steered")
	write := func(text string, at time.Time) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // ago
	write("mail A 192.0.2.7\n", long)
	r := prepare(t, func(c *Config) { c.Records, c.Zones = "", []ZoneFile{{Name: "perigee.test", Path: file}} })
	defer r.Close()
	ask := func(name string) string { return address(t, r.direct(question(name, dns.TypeA, ""), "81.2.69.142")) }
	at := r.zones.steered
	serial := at.current.Load().serial()
	later, err := newZone(at.origin, at.servers, fileSource(file), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	r.zones.put(at, later)
	if got := at.current.Load().serial(); got != serial {
		t.Errorf("reading the same again changed the serial number from %d to %d", serial, got)
	}
	// As long as somebody may be writing it, it is not read.
	long = long.Add(time.Hour)
	write("mail A 192.0.2.80\nwww A 192.0.2.9\n", long)
	if changed, settled := at.read.changed(at.readAt, long.Add(settle/2)); !changed || settled {
		t.Errorf("a file that was just written: changed %v, settled %v", changed, settled)
	}
	r.zones.reload()
	if a, b, c := ask("mail.perigee.test."), ask("www.perigee.test."), ask("x.y.perigee.test."); a != "192.0.2.80" || b != "192.0.2.9" || c != "127.0.1.1" {
		t.Errorf("%s, %s, %s", a, b, c)
	}
}

// TestFindingAZoneCostsNothing: many zones are looked up like one.
func TestFindingAZoneCostsNothing(t *testing.T) {
	z := &zones{byName: map[string]*served{}}
	for i := range 5000 {
		for _, name := range []string{fmt.Sprintf("z%d.test.", i), fmt.Sprintf("sub.z%d.test.", i)} {
			z.byName[name] = &served{origin: name}
		}
	}
	for name, want := range map[string]string{
		"z7.test.": "z7.test.", "a.b.z7.test.": "z7.test.", "sub.z7.test.": "sub.z7.test.", "a.sub.z7.test.": "sub.z7.test.", "xsub.z7.test.": "z7.test.",
		"xz7.test.": "", "test.": "", ".": "", `a\.sub.z7.test.`: "z7.test.",
	} {
		got := ""
		if s := z.find(name, dns.TypeA); s != nil {
			got = s.origin
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if s := z.find("sub.z7.test.", dns.TypeDS); s.origin != "z7.test." {
		t.Errorf("DS: %s", s.origin)
	}
	name := strings.Repeat("a.", 100) + "sub.z4999.test."
	if n := testing.AllocsPerRun(100, func() { z.find(name, dns.TypeA) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDifferenceAndSince(t *testing.T) {
	build := func(serial uint32, records string) *zone {
		z, err := newOrdinaryZone("example.org", textSource(fmt.Sprintf("@ SOA a b %d 1 1 1 1\n@ NS a\n%s", serial, records)))
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	many := "$GENERATE 1-100 h$ A 192.0.2.$\n"
	v := newVersion(build(4294967290, many))
	for i := range uint32(60) {
		v = v.next(build(i-5, many+fmt.Sprintf("x%d TXT a\n", i))) // over the end of serial numbers
	}
	if n := len(v.journal); n == 0 || n > maxDeltas || v.serial() != 54 {
		t.Fatalf("%d deltas, serial %d", n, v.serial())
	}
	if v.since(4294967290) != nil || v.since(54) != nil || len(v.since(53)) != 1 || len(v.since(50)) != 4 {
		t.Errorf("since: %v", v.since(53))
	}
	d := v.since(53)[0]
	if section(d.removed) != `TXT "a"` || len(d.added) != 1 || d.removed[0].Header().Name != "x58.example.org." || d.added[0].Header().Name != "x59.example.org." {
		t.Errorf("%+v", d)
	}
	if d := difference(build(1, "a 60 A 192.0.2.1"), build(2, "a 61 A 192.0.2.1")); len(d.removed) != 1 || len(d.added) != 1 {
		t.Errorf("a TTL that changes: %+v", d)
	}
	if n := v.next(build(56, "")); len(n.journal) != 0 {
		t.Errorf("a delta longer than the zone is kept: %d", len(n.journal))
	}
}

// FuzzZone reads texts as zones. What is taken can be asked for and transferred, and is what it is when it is read again.
func FuzzZone(f *testing.F) {
	f.Add(exampleZone)
	f.Add("@ SOA a b 1 1 1 1 1\n@ NS a\n$TTL 1h\nx 1w IN A ( 192.0.2.1 ; a comment\n )\n$ORIGIN sub\ny TXT \"\\\"\" a\\032b\n")
	f.Add("@ SOA . . 1 1 1 1 1\n@ NS .\n* NS a\n*.* CNAME *\na DNAME .\n$GENERATE 0-9/3 x${0,3,d} TYPE9 \\# 1 0$\n")
	f.Add(fmt.Sprintf(staticRecords, "x"))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Count(text, "$GENERATE") > 1 || len(regexp.MustCompile(`GENERATE[^\n]*[0-9]{4}`).FindString(text)) > 0 {
			return
		}
		z, err := newOrdinaryZone("example.org", textSource(text))
		if err != nil {
			return
		}
		var again strings.Builder
		all := append(newVersion(z).sorted(), z.soa)
		for i, rr := range all {
			if i < 200 {
				z.resolve(nil, rr.Header().Name, rr.Header().Rrtype)
				z.resolve(nil, "x."+rr.Header().Name, dns.TypeA)
			}
			fmt.Fprintln(&again, rr)
		}
		y, err := newOrdinaryZone("example.org", textSource(again.String()))
		if err != nil {
			t.Skip("the library writes what it does not read:", err)
		}
		if d := difference(z, y); len(d.removed)+len(d.added) > 0 {
			t.Fatalf("written and read again, it is another zone: %v became %v", d.removed, d.added)
		}
	})
}
