package config

import (
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"perigee/fleet"
	"perigee/object"
)

// DefaultYAML is the commented default configuration.
//
//go:embed default.yaml
var DefaultYAML string

// Config is the whole configuration. Meanings and defaults of the keys stand in default.yaml.
type Config struct {
	Data    string  `yaml:"data"`
	Region  string  `yaml:"region"`
	Log     Log     `yaml:"log"`
	Zone    Zone    `yaml:"zone"`
	API     API     `yaml:"api"`
	Catalog Catalog `yaml:"catalog"`
	Storage Storage `yaml:"storage"`
	Stores  []Store `yaml:"stores"`
	Bus     Bus     `yaml:"bus"`
	DNS     DNS     `yaml:"dns"`
	Probe   Probe   `yaml:"probe"`
	Edge    Edge    `yaml:"edge"`
	Edges   []Edge  `yaml:"edges"`
	Admin   Admin   `yaml:"admin"`

	// origins says where each value came from, by key.
	origins map[string]string
}

// Log is how a process logs.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Zone is the DNS zone of the steered names.
type Zone struct {
	Name   string   `yaml:"name"`
	NS     []string `yaml:"ns"`
	Mail   string   `yaml:"mail"`
	Scheme string   `yaml:"scheme"`
	Port   int      `yaml:"port"`
}

// HostOf returns the steered name of a site in the zone.
func (z Zone) HostOf(s object.Site) object.Host { return object.Host(string(s) + "." + z.Name) }

// URLBase returns what the URLs of a host begin with, without the last '/': "http://www.perigee.test:8100".
func (z Zone) URLBase(h object.Host) string {
	if z.Scheme == "http" && z.Port == 80 || z.Scheme == "https" && z.Port == 443 {
		return z.Scheme + "://" + string(h)
	}
	return fmt.Sprintf("%s://%s:%d", z.Scheme, h, z.Port)
}

// LongestUpload is how long an upload may take: how long one request may last, and how long a resumable one may rest.
const LongestUpload = 24 * time.Hour

// API is the publishers' face and the console.
type API struct {
	Listen      string   `yaml:"listen"`
	PublicURL   string   `yaml:"public_url"`
	DefaultSite string   `yaml:"default_site"`
	MaxUpload   Bytes    `yaml:"max_upload"`
	SitesFile   string   `yaml:"sites_file"`
	Keys        string   `yaml:"keys"` // "file", "catalogue" or ""; see Config.KeysInCatalogue
	KeysFile    string   `yaml:"keys_file"`
	KeysStale   Duration `yaml:"keys_stale"`
	Key         Secret   `yaml:"key"`
	Session     Duration `yaml:"session"`
	SessionKey  Secret   `yaml:"session_key"`
	Rate        Rate     `yaml:"rate"`
	AuditKeep   Duration `yaml:"audit_keep"`
	// CollectAfter is how long a blob must have been needed by nobody before it is deleted, CollectAgain how long after that its key is left alone.
	CollectAfter Duration `yaml:"collect_after"`
	CollectAgain Duration `yaml:"collect_again"`
	// EventsSecret is what stores that post their events show.
	EventsSecret Secret `yaml:"events_secret"`
}

// Rate is how fast the API may be used.
type Rate struct {
	Requests int      `yaml:"requests"`
	Bytes    Bytes    `yaml:"bytes"`
	Refused  int      `yaml:"refused"`
	Burst    Duration `yaml:"burst"`
}

// URL returns the console's address for people: the public one, else the one it listens on.
func (a API) URL() string {
	if a.PublicURL != "" {
		return strings.TrimSuffix(a.PublicURL, "/")
	}
	return "http://" + reachable(a.Listen)
}

// EnvKeys returns the API keys for keys.Config.Env.
func (a API) EnvKeys() []string {
	if a.Key.IsZero() {
		return nil
	}
	return []string{a.Key.Reveal()}
}

// KeysInCatalogue reports whether API keys are kept in the catalogue, and not in a file of this node. Unless it is said it follows from the kind
// of catalogue: nodes that share one share the keys, too.
func (c *Config) KeysInCatalogue() bool {
	return c.API.Keys == "catalogue" || c.API.Keys == "" && c.Catalog.IsPostgres()
}

// Catalog is the catalogue of what was published.
type Catalog struct {
	Kind           string   `yaml:"kind"` // "sqlite" or "postgres"
	Path           string   `yaml:"path"`
	DSN            Secret   `yaml:"dsn"`
	Shards         Secret   `yaml:"shards"`
	Replicas       []string `yaml:"replicas"`
	MaxLag         Duration `yaml:"max_lag"`
	Connections    int      `yaml:"connections"`
	Timeout        Duration `yaml:"timeout"`
	ConnectTimeout Duration `yaml:"connect_timeout"`
	Lookups        int      `yaml:"lookups"`
	LookupFor      Duration `yaml:"lookup_for"`
}

// CatalogServer is a further server of the catalogue.
type CatalogServer struct {
	Name  string
	Where string // a file, or of PostgreSQL a connection string
}

// Servers returns the further servers that Shards names.
func (c Catalog) Servers() []CatalogServer {
	var out []CatalogServer
	for line := range strings.Lines(c.Shards.Reveal()) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			name, where, _ := strings.Cut(line, "=")
			out = append(out, CatalogServer{strings.TrimSpace(name), strings.TrimSpace(where)})
		}
	}
	return out
}

// IsPostgres reports whether the catalogue is a PostgreSQL database.
func (c Catalog) IsPostgres() bool { return c.Kind == "postgres" }

// Storage is the bucket.
type Storage struct {
	Preset   string `yaml:"preset"` // a name of presets, or empty
	Endpoint string `yaml:"endpoint"`
	// PublicEndpoint is the address of the same store as API clients reach it; empty turns uploads straight to the bucket off.
	PublicEndpoint string   `yaml:"public_endpoint"`
	Region         string   `yaml:"region"`
	Bucket         string   `yaml:"bucket"`
	AccessKey      string   `yaml:"access_key"`
	SecretKey      Secret   `yaml:"secret_key"`
	EdgeAccessKey  string   `yaml:"edge_access_key"`
	EdgeSecretKey  Secret   `yaml:"edge_secret_key"`
	PathStyle      bool     `yaml:"path_style"`
	Checksums      string   `yaml:"checksums"` // "supported" or "required"
	Embedded       Embedded `yaml:"embedded"`
}

// Embedded is the S3 server inside the binary.
type Embedded struct {
	Listen string `yaml:"listen"`
	Root   string `yaml:"root"`
	// Events is where a server that runs alone posts its events.
	Events string `yaml:"events"`
}

// IsEmbedded reports whether the endpoint is the embedded server's address, so that `perigee up` runs it. With a preset it is another S3 that
// listens there.
func (s Storage) IsEmbedded() bool {
	return s.Preset == "" && sameServer(s.Endpoint, s.Embedded.Listen)
}

// Bus is the NATS server, embedded or not, and the two accounts on it.
type Bus struct {
	URL             string `yaml:"url"`
	ControlUser     string `yaml:"control_user"`
	ControlPassword Secret `yaml:"control_password"`
	EdgeUser        string `yaml:"edge_user"`
	EdgePassword    Secret `yaml:"edge_password"`
	Listen          string `yaml:"listen"`
	Store           string `yaml:"store"`
}

// IsEmbedded reports whether the url is the embedded server's address, so that `perigee up` runs it.
func (b Bus) IsEmbedded() bool { return sameServer(b.URL, b.Listen) }

// GeoUpdate is how the GeoIP database is kept up to date.
type GeoUpdate struct {
	URL        []string       `yaml:"url"`
	Every      Duration       `yaml:"every"`
	Account    string         `yaml:"account"`
	LicenseKey Secret         `yaml:"license_key"`
	Checksum   string         `yaml:"checksum"`
	MaxSize    Bytes          `yaml:"max_size"`
	Allow      []netip.Prefix `yaml:"allow"`
}

// GeoFiles returns where the operator's GeoIP database is: the files of dns.geo, else geo.mmdb in the data directory.
func (c *Config) GeoFiles() []string {
	if len(c.DNS.Geo) > 0 {
		return c.DNS.Geo
	}
	return []string{filepath.Join(c.Data, "geo.mmdb")}
}

// Probe is who asks the edges whether they serve, and how.
type Probe struct {
	DNS     bool     `yaml:"dns"`
	Edges   bool     `yaml:"edges"`
	Every   Duration `yaml:"every"`
	Timeout Duration `yaml:"timeout"`
	Down    int      `yaml:"down"`
	Up      int      `yaml:"up"`
	Path    string   `yaml:"path"`
	Host    string   `yaml:"host"`
}

// Edge is one edge.
type Edge struct {
	Name        string             `yaml:"name"`
	Listen      string             `yaml:"listen"`
	Addrs       []netip.AddrPort   `yaml:"addrs"`
	Place       Place              `yaml:"place"`
	Cache       string             `yaml:"cache"`
	CacheSize   Bytes              `yaml:"cache_size"`
	RAM         Bytes              `yaml:"ram"`
	Capacity    Bytes              `yaml:"capacity"` // per second
	OnPartition object.OnPartition `yaml:"on_partition"`
	MeasureRTT  bool               `yaml:"measure_rtt"`
	PullAllow   []netip.Prefix     `yaml:"pull_allow"`
	AccessLog   AccessLog          `yaml:"access_log"`
	Admin       string             `yaml:"admin"`
}

// AccessLog is the log of an edge's requests.
type AccessLog struct {
	Path    string `yaml:"path"`
	Format  string `yaml:"format"`
	MaxSize Bytes  `yaml:"max_size"`
	Keep    int    `yaml:"keep"`
}

// edgeName stands in AccessLog.Path for the name of the edge, so that one line of configuration does for a whole fleet.
const edgeName = "{name}"

// Place is where an edge stands.
type Place struct {
	Name    string  `yaml:"name"`
	Country string  `yaml:"country"`
	Lat     float64 `yaml:"lat"`
	Lon     float64 `yaml:"lon"`
}

// Fleet returns the place as the fleet knows it.
func (p Place) Fleet() fleet.Place { return fleet.Place(p) }

// PublicAddrs returns where clients reach the edge: addrs, else the listen address if it is one a client could use.
func (e Edge) PublicAddrs() []netip.AddrPort {
	if len(e.Addrs) > 0 {
		return e.Addrs
	}
	ap, err := netip.ParseAddrPort(e.Listen)
	if err != nil || ap.Addr().IsUnspecified() || ap.Port() == 0 {
		return nil
	}
	return []netip.AddrPort{ap}
}

// Admin is the listener of health, readiness and metrics.
type Admin struct {
	Listen string `yaml:"listen"`
	Token  Secret `yaml:"token"`
}

// EdgeNamed returns the edge of that name from edges, or the section edge when the name is empty or its own.
func (c *Config) EdgeNamed(name string) (Edge, error) {
	if name == "" {
		return c.Edge, nil
	}
	var known []string
	for _, e := range c.Edges {
		if e.Name == name {
			return e, nil
		}
		known = append(known, e.Name)
	}
	if name == c.Edge.Name {
		return c.Edge, nil
	}
	return Edge{}, fmt.Errorf("no edge %q is configured%s; the edges are %s", name, suggest(name, known), strings.Join(known, ", "))
}

// resolve fills the paths that follow from the data directory.
func (c *Config) resolve() {
	under := func(p *string, elem ...string) {
		if *p == "" {
			*p = filepath.Join(append([]string{c.Data}, elem...)...)
		}
	}
	under(&c.API.KeysFile, "keys.json")
	under(&c.Catalog.Path, "catalog.db")
	under(&c.Storage.Embedded.Root, "s3")
	under(&c.Bus.Store, "bus")
	under(&c.DNS.State, "dns")
	edge := func(e *Edge) {
		under(&e.Cache, "edges", e.Name)
		e.AccessLog.Path = strings.ReplaceAll(e.AccessLog.Path, edgeName, e.Name)
	}
	edge(&c.Edge)
	for i := range c.Edges {
		edge(&c.Edges[i])
	}
}

// sameServer reports whether a URL leads to a listen address of this machine.
func sameServer(rawURL, listen string) bool {
	u, err := url.Parse(rawURL)
	if err != nil || listen == "" {
		return false
	}
	lhost, lport, err := net.SplitHostPort(listen)
	if err != nil || u.Port() != lport {
		return false
	}
	if strings.EqualFold(u.Hostname(), lhost) {
		return true
	}
	loopback := sameMachine(u.Hostname())
	if lhost == "" || lhost == "localhost" {
		return loopback
	}
	l, err := netip.ParseAddr(lhost)
	return err == nil && l.IsUnspecified() && loopback
}

// sameMachine reports whether a host is a loopback address, or localhost.
func sameMachine(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || host == "localhost"
}

// reachable turns a listen address into one that can be connected to from this machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
