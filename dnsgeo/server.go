package dnsgeo

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"perigee/clock"
	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/limit"
	"perigee/dnsgeo/querylog"
	"perigee/dnsgeo/sign"
	"perigee/dnsgeo/steer"
	"perigee/dnsgeo/tap"
	"perigee/fleet"
)

// Config is what a Server needs.
type Config struct {
	// Listen is host:port for UDP and TCP; port 0 picks one that is free for both. Empty opens no socket: such a Server
	// only decides, for those who explain what others answer.
	Listen  string
	Zone    string       // the zone's name
	Servers []NameServer // the zone's name servers; not needed when Records has NS records of the zone
	// Records are static records in the form of RFC 1035 §5, relative to Zone; may be empty.
	Records string
	// TTL of steered addresses, in whole seconds from 1 s to a day; 20 s when zero.
	TTL time.Duration
	// SteadyTTL is that of answers all of whose edges have been fit and unchanged for ten minutes, and are not nearly full; TTL when it is shorter.
	SteadyTTL time.Duration

	// Zones are further zones, and perhaps the records beside the steered names in place of Records: see ZoneFile.
	Zones    []ZoneFile
	TSIGKeys []TSIGKey // that Zones refer to
	// HTTPSRecord, if not nil, gives steered names HTTPS records. It must be nil as long as the edges speak plain HTTP only.
	HTTPSRecord *HTTPSRecord

	// ListenTLS is host:port for DNS over TLS (RFC 7858), whose port is 853; "" for none. TLS has the certificate.
	ListenTLS string
	TLS       *tls.Config

	Names func() *Names          // the steered names of this moment; called for each query, must not block
	Fleet func() *fleet.Snapshot // the fleet of this moment; called for each query, must not block
	Geo   *geo.Holder

	// What steering goes by, of this moment; called for each query, must not block. Each may be nil, and return nil: the nearest edge, no latencies, and
	// as the demand the queries that were counted here, or, while there are few, the address space.
	Policy    func() *steer.Policy
	Latencies func() *steer.Latencies
	Demand    func() *steer.Demand

	// NSID is what a client is told that asks which server answers (RFC 5001); empty tells nothing.
	NSID string
	// Explain has the networks whose clients may ask for the reasons of an answer, as TXT of _explain.<name> over TCP.
	Explain []netip.Prefix
	// Cookies makes and checks DNS cookies (RFC 7873); nil takes no notice of them.
	Cookies *cookie.Jar
	// Limit bounds what goes to one network over UDP; nil bounds nothing.
	Limit *limit.Limiter
	// Queries and Tap are told of each query; nil tells nobody. Each has at least one buffer more than there are Sockets.
	Queries *querylog.Log
	Tap     *tap.Tap
	// Signer signs the zone of the steered names; nil for one that is not signed.
	Signer *sign.Signer
	// Withheld reports whether the zone of the steered names is not to be answered now, but for SERVFAIL, because the keys that sign it may be on their
	// way: package share. It is asked for each query. Nil is never.
	Withheld func() bool

	Sockets  int           // for UDP, each with a goroutine of its own; one for each processor when 0
	MaxConns int           // open connections, TCP and TLS together; 512 when 0
	Idle     time.Duration // after which a silent connection is closed; 10 s when 0; less when many are open

	Log   *slog.Logger
	Clock clock.Clock
}

// Server is an authoritative DNS server for one zone.
type Server struct {
	log      *slog.Logger
	clock    clock.Clock
	zones    *zones
	service  service // nil when there are no HTTPS records
	names    func() *Names
	steering *steering
	demand   *demand
	signer   *sign.Signer // nil when the zone is not signed
	steady   *steadiness
	withheld func() bool // never nil
	counters Counters

	nsid       string // in hexadecimal
	explainers []netip.Prefix
	cookies    *cookie.Jar
	limit      *limit.Limiter
	queries    *querylog.Log
	tap        *tap.Tap

	udp []*net.UDPConn // none when there are no sockets
	hot atomic.Pointer[hot]

	tcp     *net.TCPListener // nil when there are no sockets
	tls     *net.TCPListener // nil when TLS is not served
	streams *streams
}

// New checks the configuration and opens the sockets. The Server does not answer before Run.
func New(c Config) (*Server, error) {
	if c.Names == nil || c.Fleet == nil || c.Geo == nil || c.Log == nil || c.Clock == nil {
		return nil, errors.New("dns server: Names, Fleet, Geo, Log and Clock are required")
	}
	ttl := c.TTL
	if ttl == 0 {
		ttl = 20 * time.Second
	}
	if ttl < time.Second || ttl > 24*time.Hour || ttl%time.Second != 0 {
		return nil, fmt.Errorf("dns server: TTL %v is not a number of whole seconds from 1s to 24h", ttl)
	}
	s := &Server{
		log: c.Log, clock: c.Clock, names: c.Names, steady: newSteadiness(uint32(ttl/time.Second), uint32(c.SteadyTTL/time.Second)),
		nsid: hex.EncodeToString([]byte(c.NSID)), explainers: c.Explain, cookies: c.Cookies, limit: c.Limit, signer: c.Signer,
		queries: c.Queries, tap: c.Tap, withheld: c.Withheld,
	}
	if s.withheld == nil {
		s.withheld = func() bool { return false }
	}
	if c.SteadyTTL < 0 || c.SteadyTTL > 24*time.Hour {
		return nil, fmt.Errorf("dns server: SteadyTTL %v is not between 0 and 24h", c.SteadyTTL)
	}
	var err error
	if s.zones, err = newZones(&c, &s.counters); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	if c.Signer != nil && c.Signer.Zone() != s.zones.steered.origin {
		return nil, fmt.Errorf("dns server: the signer is for zone %s, not %s", c.Signer.Zone(), s.zones.steered.origin)
	}
	if s.service, err = newService(c.HTTPSRecord); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	if s.streams, err = newStreams(&c); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	if s.demand = newDemand(c.Geo, c.Clock); c.Demand == nil {
		c.Demand = s.Demand
	}
	s.steering = newSteering(&c, &s.counters.Compiled, s.prepare)
	if c.Listen != "" {
		if err := s.listen(c.Listen, c.Sockets); err != nil {
			return nil, fmt.Errorf("dns server: %w", err)
		}
	}
	if c.ListenTLS != "" {
		if err := s.listenTLS(c.ListenTLS); err != nil {
			return nil, errors.Join(fmt.Errorf("dns server: %w", err), s.Close())
		}
	}
	return s, nil
}

// listen opens all sockets on the same port.
func (s *Server) listen(address string, sockets int) error {
	if sockets <= 0 {
		sockets = runtime.GOMAXPROCS(0)
	}
	// A port that is free for TCP may be taken for UDP. Only when any port will do is another one tried.
	const tries = 20
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		at := l.Addr().(*net.TCPAddr)
		u, err := udpSockets(&net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone}, sockets)
		if err == nil {
			s.tcp, s.udp = l.(*net.TCPListener), u
			break
		}
		l.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" || try == tries {
			return err
		}
	}
	for _, c := range s.udp {
		// Best effort: a larger buffer only helps to survive bursts.
		_ = c.SetReadBuffer(1 << 20)
		if !c.LocalAddr().(*net.UDPAddr).IP.IsUnspecified() {
			continue
		}
		// On a machine with several addresses the answer must leave from the one that was asked.
		err4 := ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
		err6 := ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
		if err4 != nil && err6 != nil {
			return errors.Join(fmt.Errorf("ask for the destination of packets: %w", err4), s.Close())
		}
	}
	return nil
}

// fresh returns what the UDP loop answers by itself at this moment, nil while that is being made.
func (s *Server) fresh(now time.Time) *hot {
	h := s.hot.Load()
	if h == nil || s.withheld() || h.signed != s.signs(now) || h.steady != s.steady.steady.Load() || h.state.compiled != s.steering.current().compiled || h.names != s.names() || h.zone != s.zones.steered.zone() {
		return nil
	}
	return h
}

// prepare makes what the UDP loop answers by itself, if that is not there for this moment; steering calls it in the background.
func (s *Server) prepare(st *state) {
	names := s.names()
	now := s.clock.Now()
	s.steady.look(s.steering.fleet(), now)
	signed := s.signs(now)
	if h := s.hot.Load(); s.udp == nil || st.compiled == nil || h != nil && h.signed == signed && h.steady == s.steady.steady.Load() && h.state.compiled == st.compiled && h.names == names && h.zone == s.zones.steered.zone() {
		return
	}
	s.hot.Store(s.newHot(names, st, signed))
}

// signs reports whether the zone of the steered names is signed at a moment.
func (s *Server) signs(now time.Time) bool { return s.signer != nil && s.signer.Signs(now) }

// Addr is the address of all sockets; the zero AddrPort without any.
func (s *Server) Addr() netip.AddrPort {
	if s.udp == nil {
		return netip.AddrPort{}
	}
	return s.udp[0].LocalAddr().(*net.UDPAddr).AddrPort()
}

// Counters returns the server's counters.
func (s *Server) Counters() *Counters { return &s.counters }

// Close closes the sockets of a Server that is not run. Run closes them itself.
func (s *Server) Close() error {
	var err error
	if s.udp != nil {
		err = errors.Join(closeAll(s.udp), s.tcp.Close())
	}
	if s.tls != nil {
		err = errors.Join(err, s.tls.Close())
	}
	return err
}

func closeAll(socks []*net.UDPConn) (err error) {
	for _, c := range socks {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Run serves until ctx ends. It returns nil then, or the error that made it stop before, when everything that it
// started has ended. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { s.steering.run(ctx) })
	wg.Go(func() { s.demand.run(ctx) })
	wg.Go(func() { s.zones.run(ctx, s.udp != nil) })
	if s.udp == nil {
		wg.Wait()
		return nil
	}
	for i, c := range s.udp {
		wg.Go(func() { cancel(s.serveSocket(ctx, i, c)) })
	}
	wg.Go(func() { cancel(s.serveStreams(ctx, s.tcp, nil)) })
	if s.tls != nil {
		wg.Go(func() { cancel(s.serveStreams(ctx, s.tls, s.streams.tls)) })
	}
	s.log.Info("dns: serving", "addr", s.Addr().String(), "zone", s.zones.steered.origin, "zones", len(s.zones.byName))
	<-ctx.Done()
	// Readers wake up at once and see that ctx has ended; who is writing an answer finishes it.
	for _, c := range s.udp {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	s.endStreams()
	wg.Wait()
	err := s.Close()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	if err != nil {
		return fmt.Errorf("dns server: %w", err)
	}
	return nil
}

// pause waits a little after an error that may pass, so that it is not met again in a tight loop.
func (s *Server) pause(ctx context.Context) {
	t := s.clock.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C():
	}
}
