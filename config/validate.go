package config

import (
	"errors"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"perigee/keys"
	"perigee/object"
)

// Validate checks each value and how they fit together, for all roles at once. It reads the API key file, to know
// whether there is a key; keys in the catalogue are not looked at. The error is Mistakes.
//
// A listener beyond loopback needs what guards it: api.listen an API key, storage.embedded.listen and bus.listen
// their own credentials (UseSecrets before Validate counts), every admin listener admin.token. Public edge and DNS
// listeners need nothing.
func (c *Config) Validate() error {
	var ms Mistakes
	v := validator{c, &ms}
	v.general()
	v.zone()
	v.api()
	v.catalog()
	v.storage()
	v.stores()
	v.bus()
	v.dns()
	v.probe()
	v.edges()
	v.admin("admin.listen", c.Admin.Listen)
	if t := c.Admin.Token.Reveal(); t != "" && len(t) < minToken {
		v.bad("admin.token", "a token has at least %d characters", minToken)
	}
	return ms.err()
}

// ValidateTogether checks, beside all of Validate, what must fit where one process runs every role: an embedded server that was moved has its clients told. The error
// is Mistakes.
func (c *Config) ValidateTogether() error {
	var ms Mistakes
	if err := c.Validate(); err != nil && !errors.As(err, &ms) {
		return err
	}
	v := validator{c, &ms}
	v.moved("storage.embedded.listen", "storage.endpoint", "http", c.Storage.Embedded.Listen, c.Storage.IsEmbedded())
	v.moved("bus.listen", "bus.url", "nats", c.Bus.Listen, c.Bus.IsEmbedded())
	return ms.err()
}

// minToken is the least length of the admin token and of passwords that guard a listener beyond loopback.
const minToken = 16

type validator struct {
	c  *Config
	ms *Mistakes
}

// bad notes that a key's value is wrong.
func (v validator) bad(key, format string, args ...any) {
	where := v.c.origins[key]
	if strings.HasPrefix(where, "default.yaml:") {
		where = ""
	}
	v.ms.add(where, key, format, args...)
}

func (v validator) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.bad(key, "%q is none of %s%s", value, strings.Join(allowed, ", "), suggest(value, allowed))
	}
}

// label checks a name of the kind that DNS labels and site names have.
func (v validator) label(key, value string) {
	if _, err := object.ParseSite(value); err != nil {
		v.bad(key, "%q is no name; write 1 to 63 characters of a-z, 0-9 and '-', beginning and ending with a letter or digit", value)
	}
}

func (v validator) host(key, value string) {
	if h, err := object.ParseHost(value); err != nil || string(h) != value || strings.Contains(value, "[") {
		v.bad(key, "%q is no host name; write it in lower case, without a port or a final dot", value)
	}
}

// listen checks "host:port"; the host may be empty for all interfaces.
func (v validator) listen(key, value string) bool {
	host, port, err := net.SplitHostPort(value)
	n, perr := strconv.Atoi(port)
	ok := err == nil && perr == nil && n >= 0 && n <= 65535
	if ok && host != "" {
		_, aerr := netip.ParseAddr(host)
		_, herr := object.ParseHost(host)
		ok = aerr == nil || herr == nil && !strings.Contains(host, ":")
	}
	if !ok {
		v.bad(key, "%q is no address to listen on; write host:port, such as 127.0.0.1:8080 or [::1]:8080", value)
	}
	return ok
}

func (v validator) url(key, value string, schemes ...string) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		v.bad(key, "%q is no address; write it as %s://host:port", value, schemes[0])
		return
	}
	if u.User != nil {
		v.bad(key, "it carries a password; give that by its own key, so that it is never shown")
	}
}

func (v validator) general() {
	if v.c.Data == "" {
		v.bad("data", "name the directory that everything is kept in")
	}
	v.label("region", v.c.Region)
	v.oneOf("log.level", v.c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", v.c.Log.Format, "text", "json")
}

func (v validator) zone() {
	z := v.c.Zone
	v.host("zone.name", z.Name)
	if len(z.NS) == 0 {
		v.bad("zone.ns", "a zone has at least one name server")
	}
	for _, ns := range z.NS {
		v.host("zone.ns", ns)
	}
	if a, err := mail.ParseAddress(z.Mail); err != nil || a.Address != z.Mail {
		v.bad("zone.mail", "%q is no mail address", z.Mail)
	}
	v.oneOf("zone.scheme", z.Scheme, "http", "https")
	if z.Port < 1 || z.Port > 65535 {
		v.bad("zone.port", "%d is no port; write 1 to 65535", z.Port)
	}
}

// The bounds of the collector. An edge has confirmed a pointer twice within two leases of 30s, which LongestUpload exceeds by far. S3 carries out no
// request that was signed more than 15 minutes before.
const (
	latestRequest = 15 * time.Minute
	latestCollect = 10 * 365 * 24 * time.Hour
)

// collector checks when blobs that nobody needs are deleted.
func (v validator) collector(a API) {
	if d := a.CollectAfter.Std(); d <= LongestUpload || d > latestCollect {
		v.bad("api.collect_after", "%v is not between %v and %v: an upload may take %v, and what it has stored must still be there when it is published; write 25h, or more to be able to go back further",
			a.CollectAfter, Duration(LongestUpload), Duration(latestCollect), Duration(LongestUpload))
	}
	if d := a.CollectAgain.Std(); d <= latestRequest || d > LongestUpload {
		v.bad("api.collect_again", "%v is not between %v and %v: a delete whose answer was lost may be carried out %v later, and must not meet a blob that was stored anew; write 1h",
			a.CollectAgain, Duration(latestRequest), Duration(LongestUpload), Duration(latestRequest))
	}
}

func (v validator) api() {
	a := v.c.API
	v.label("api.default_site", a.DefaultSite)
	if a.PublicURL != "" {
		v.url("api.public_url", a.PublicURL, "https", "http")
	}
	if a.MaxUpload < 1 {
		v.bad("api.max_upload", "it is the largest file that may be uploaded, such as 10GB; 0 would allow none")
	}
	if a.Session.Std() < time.Minute || a.Session.Std() > 30*24*time.Hour {
		v.bad("api.session", "%v is not between 1m and 720h", a.Session)
	}
	if r := a.Rate; r.Requests < 0 || r.Refused < 0 || r.Bytes < 0 || r.Burst.Std() < time.Second || r.Burst.Std() > time.Hour {
		v.bad("api.rate", "a rate is negative, or burst is not between 1s and 1h; 0 is no limit")
	}
	if d := a.AuditKeep.Std(); d != 0 && d < time.Hour {
		v.bad("api.audit_keep", "%v would lose entries before anybody reads them; keep them an hour at least, or 0s for ever", a.AuditKeep)
	}
	if d := a.KeysStale.Std(); d != 0 && (d < 10*time.Second || d > 7*24*time.Hour) {
		v.bad("api.keys_stale", "%v is not between 10s and 168h; 0s is for ever", a.KeysStale)
	}
	if k := a.SessionKey.Reveal(); k != "" && len(k) < minSessionKey {
		v.bad("api.session_key", "it has %d characters; give it at least %d, for example the output of `openssl rand -hex 32`", len(k), minSessionKey)
	}
	v.collector(a)
	v.sitesFile(a)
	v.keys(a)
}

// minSessionKey is the least length in characters of a session key that is made by hand.
const minSessionKey = 32

// keys checks the place of the API keys, and whether there is one for a listener that others reach. What is in the catalogue is known when that is open.
func (v validator) keys(a API) {
	v.oneOf("api.keys", a.Keys, "", "file", "catalogue")
	if v.c.KeysInCatalogue() {
		v.listen("api.listen", a.Listen)
		return
	}
	ring, err := keys.Open(keys.Config{File: a.KeysFile, Env: a.EnvKeys()})
	if err != nil {
		v.bad("api.keys_file", "%v", err)
		return
	}
	if v.listen("api.listen", a.Listen) {
		if err := keys.CheckListen(a.Listen, !ring.Empty(), "the API"); err != nil {
			v.bad("api.listen", "%v", err)
		}
	}
}

func (v validator) sitesFile(a API) {
	if a.SitesFile == "" {
		return
	}
	sites, err := ReadSites(a.SitesFile)
	var ms Mistakes
	switch {
	case errors.As(err, &ms):
		*v.ms = append(*v.ms, ms...)
	case err != nil:
		v.bad("api.sites_file", "%v", err)
	}
	for _, s := range sites {
		if string(s.Site) == a.DefaultSite && !slices.Contains(s.Hosts, v.c.Zone.HostOf(s.Site)) {
			v.bad("api.sites_file", "it declares the default site %s without its host %s", s.Site, v.c.Zone.HostOf(s.Site))
		}
	}
}

// pair checks that of two keys both or none are given.
func (v validator) pair(a, b string, hasA, hasB bool) {
	if hasA != hasB {
		if hasA {
			a, b = b, a
		}
		v.bad(b, "%s is missing; give both or neither", a)
	}
}

func (v validator) storage() {
	s := v.c.Storage
	v.preset()
	if s.Endpoint != "" { // empty is AWS
		v.url("storage.endpoint", s.Endpoint, "http", "https")
	}
	if s.PublicEndpoint != "" {
		v.url("storage.public_endpoint", s.PublicEndpoint, "http", "https")
	}
	if n := len(s.Bucket); n < 3 || n > 63 || strings.Trim(s.Bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		v.bad("storage.bucket", "%q is no bucket name; write 3 to 63 characters of a-z, 0-9, '.' and '-'", s.Bucket)
	}
	v.oneOf("storage.checksums", s.Checksums, "supported", "required")
	v.pair("storage.access_key", "storage.secret_key", s.AccessKey != "", !s.SecretKey.IsZero())
	v.pair("storage.edge_access_key", "storage.edge_secret_key", s.EdgeAccessKey != "", !s.EdgeSecretKey.IsZero())
	if s.AccessKey != "" && s.AccessKey == s.EdgeAccessKey && s.IsEmbedded() {
		v.bad("storage.edge_access_key", "it is the same as storage.access_key; edges get a key of their own that can only read")
	}
	if v.listen("storage.embedded.listen", s.Embedded.Listen) && !keys.Loopback(s.Embedded.Listen) {
		v.guarded("storage.embedded.listen", "storage.secret_key", s.SecretKey)
		v.guarded("storage.embedded.listen", "storage.edge_secret_key", s.EdgeSecretKey)
	}
}

// moved checks that who moves an embedded server has told its clients, too. Where the server is a role alone, it has none.
func (v validator) moved(listenKey, clientKey, scheme, listen string, embedded bool) {
	isDefault := func(key string) bool { return strings.HasPrefix(v.c.origins[key], "default.yaml:") }
	if !embedded && !isDefault(listenKey) && isDefault(clientKey) {
		v.bad(listenKey, "nobody would use the server there: %s is another address; set it to %s://%s", clientKey, scheme, listen)
	}
}

// guarded checks the secret that a listener beyond loopback asks for.
func (v validator) guarded(key, secretKey string, s Secret) {
	if len(s.Reveal()) < minToken {
		v.bad(key, "it can be reached from other machines: set %s (at least %d characters), for example to the output of `openssl rand -hex 32`, or listen on 127.0.0.1", secretKey, minToken)
	}
}

func (v validator) bus() {
	b := v.c.Bus
	v.url("bus.url", b.URL, "nats", "tls")
	if b.ControlUser == "" || b.EdgeUser == "" || b.ControlUser == b.EdgeUser {
		v.bad("bus.edge_user", "bus.control_user and bus.edge_user are two different accounts")
	}
	if v.listen("bus.listen", b.Listen) && !keys.Loopback(b.Listen) {
		v.guarded("bus.listen", "bus.control_password", b.ControlPassword)
		v.guarded("bus.listen", "bus.edge_password", b.EdgePassword)
	}
}

func (v validator) probe() {
	p := v.c.Probe
	if p.Every.Std() < 100*time.Millisecond || p.Every.Std() > time.Minute {
		v.bad("probe.every", "%v is not between 100ms and 1m", p.Every)
	}
	if p.Timeout.Std() < 10*time.Millisecond || p.Timeout.Std() > time.Minute {
		v.bad("probe.timeout", "%v is not between 10ms and 1m", p.Timeout)
	}
	if p.Down < 1 || p.Down > 100 {
		v.bad("probe.down", "%d is not between 1 and 100", p.Down)
	}
	if p.Up < 1 || p.Up > 100 {
		v.bad("probe.up", "%d is not between 1 and 100", p.Up)
	}
	if _, err := url.ParseRequestURI(p.Path); err != nil || !strings.HasPrefix(p.Path, "/") {
		v.bad("probe.path", "%q is no path; write one that begins with '/'", p.Path)
	}
	if _, err := object.ParseHost(p.Host); err != nil {
		v.bad("probe.host", "%v", err)
	}
}

// admin checks a listener of health and metrics; "" is none.
func (v validator) admin(key, listen string) {
	if listen != "" && v.listen(key, listen) && !keys.Loopback(listen) && len(v.c.Admin.Token.Reveal()) < minToken {
		v.bad(key, "it can be reached from other machines: set admin.token (at least %d characters), which health and metrics then ask for, or listen on 127.0.0.1", minToken)
	}
}

func (v validator) edges() {
	v.edge("edge", v.c.Edge)
	seen := map[string]bool{}
	addrs := map[netip.AddrPort]string{}
	logs := map[string]string{}
	for _, e := range v.c.Edges {
		key := "edges." + e.Name
		if seen[e.Name] {
			v.bad(key, "two edges have the name %q", e.Name)
			continue
		}
		seen[e.Name] = true
		v.edge(key, e)
		if path := e.AccessLog.Path; path != "" && path != "-" {
			if other, ok := logs[path]; ok {
				v.bad(key+".access_log.path", "%s and %s would both write, and move aside, %s; put %s into the path", e.Name, other, path, edgeName)
			}
			logs[path] = e.Name
		}
		for _, a := range e.PublicAddrs() {
			if other, ok := addrs[a]; ok {
				v.bad(key+".addrs", "clients cannot tell %s from %s: both are reached at %s", e.Name, other, a)
			}
			addrs[a] = e.Name
		}
	}
}

func (v validator) edge(key string, e Edge) {
	v.label(key+".name", e.Name)
	v.listen(key+".listen", e.Listen)
	for _, a := range e.Addrs {
		if a.Addr().IsUnspecified() || a.Port() == 0 {
			v.bad(key+".addrs", "%s is no address a client could use", a)
		}
	}
	if p := e.Place; !(p.Lat >= -90 && p.Lat <= 90 && p.Lon >= -180 && p.Lon <= 180) {
		v.bad(key+".place", "%v, %v is nowhere: lat is -90 to 90 degrees north, lon -180 to 180 degrees east", p.Lat, p.Lon)
	}
	if c := e.Place.Country; c != "" && (len(c) != 2 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		v.bad(key+".place.country", "%q is no country; write two capital letters, such as DE", c)
	}
	if e.CacheSize < 1<<20 {
		v.bad(key+".cache_size", "%v is too small for a cache; give it at least 1MiB", e.CacheSize)
	}
	if e.RAM < 0 {
		v.bad(key+".ram", "it is negative")
	}
	v.oneOf(key+".on_partition", string(e.OnPartition), string(object.Serve), string(object.Refuse))
	v.oneOf(key+".access_log.format", e.AccessLog.Format, "combined", "json")
	if n := e.AccessLog.MaxSize; n != 0 && n < 1<<20 {
		v.bad(key+".access_log.max_size", "%v is too small; give it at least 1MiB, or 0 for no bound", n)
	}
	if n := e.AccessLog.Keep; n < 0 || n > 1000 {
		v.bad(key+".access_log.keep", "%d is not between 0 and 1000", n)
	}
	v.admin(key+".admin", e.Admin)
}
