package dnsgeo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"perigee/clock"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/steer"
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

	Names func() *Names          // the steered names of this moment; called for each query, must not block
	Fleet func() *fleet.Snapshot // the fleet of this moment; called for each query, must not block
	Geo   *geo.Holder

	// What steering goes by, of this moment; called for each query, must not block. Each may be nil, and return nil: the nearest edge, no latencies, and
	// the address space as the demand.
	Policy    func() *steer.Policy
	Latencies func() *steer.Latencies
	Demand    func() *steer.Demand

	Workers  int           // UDP queries answered at the same time; twice the processors when 0
	MaxConns int           // open TCP connections; 512 when 0
	Idle     time.Duration // after which a silent TCP connection is closed; 10 s when 0

	Log   *slog.Logger
	Clock clock.Clock
}

// Server is an authoritative DNS server for one zone.
type Server struct {
	log      *slog.Logger
	clock    clock.Clock
	zone     *zone
	names    func() *Names
	steering *steering
	ttl      uint32
	counters Counters

	udp     *net.UDPConn // nil when there are no sockets
	workers int

	tcp   *net.TCPListener // nil when there are no sockets
	slots chan struct{}    // one per open TCP connection
	idle  time.Duration

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool // no further connection is served
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
	z, err := newZone(c.Zone, c.Servers, c.Records, c.Clock.Now())
	if err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	s := &Server{
		log: c.Log, clock: c.Clock, zone: z, names: c.Names, ttl: uint32(ttl / time.Second),
		workers: c.Workers, idle: c.Idle, conns: make(map[net.Conn]struct{}),
	}
	if s.workers <= 0 {
		s.workers = 2 * runtime.GOMAXPROCS(0)
	}
	if s.idle <= 0 {
		s.idle = 10 * time.Second
	}
	slots := c.MaxConns
	if slots <= 0 {
		slots = 512
	}
	s.slots = make(chan struct{}, slots)
	s.steering = newSteering(&c, &s.counters.Compiled)
	if c.Listen != "" {
		if err := s.listen(c.Listen); err != nil {
			return nil, fmt.Errorf("dns server: %w", err)
		}
	}
	return s, nil
}

// listen opens both sockets on the same port.
func (s *Server) listen(address string) error {
	// A port that is free for TCP may be taken for UDP. Only when any port will do is another one tried.
	const tries = 20
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		at := l.Addr().(*net.TCPAddr)
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone})
		if err == nil {
			s.tcp, s.udp = l.(*net.TCPListener), u
			break
		}
		l.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" || try == tries {
			return err
		}
	}
	// Best effort: a larger buffer only helps to survive bursts.
	_ = s.udp.SetReadBuffer(1 << 20)
	if s.udp.LocalAddr().(*net.UDPAddr).IP.IsUnspecified() {
		// On a machine with several addresses the answer must leave from the one that was asked.
		err4 := ipv4.NewPacketConn(s.udp).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
		err6 := ipv6.NewPacketConn(s.udp).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
		if err4 != nil && err6 != nil {
			return errors.Join(fmt.Errorf("ask for the destination of packets: %w", err4), s.Close())
		}
	}
	return nil
}

// Addr is the address of both sockets; the zero AddrPort without any.
func (s *Server) Addr() netip.AddrPort {
	if s.udp == nil {
		return netip.AddrPort{}
	}
	return s.udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Counters returns the server's counters.
func (s *Server) Counters() *Counters { return &s.counters }

// Close closes the sockets of a Server that is not run. Run closes them itself.
func (s *Server) Close() error {
	if s.udp == nil {
		return nil
	}
	return errors.Join(s.udp.Close(), s.tcp.Close())
}

// Run serves until ctx ends. It returns nil then, or the error that made it stop before, when everything that it
// started has ended. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	if s.udp == nil {
		s.steering.run(ctx)
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { s.steering.run(ctx) })
	for range s.workers {
		wg.Go(func() { cancel(s.serveUDP(ctx)) })
	}
	wg.Go(func() { cancel(s.serveTCP(ctx)) })
	s.log.Info("dns: serving", "addr", s.Addr().String(), "zone", s.zone.origin)
	<-ctx.Done()
	// Readers wake up at once and see that ctx has ended; who is writing an answer finishes it.
	_ = s.udp.SetReadDeadline(time.Unix(1, 0))
	s.endConns()
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

// serveUDP answers packets, one after the other, until ctx ends.
func (s *Server) serveUDP(ctx context.Context) error {
	in, out := make([]byte, 4096), make([]byte, dns.MaxMsgSize)
	for {
		n, session, err := dns.ReadFromSessionUDP(s.udp, in)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read UDP: %w", err)
		default:
			s.log.Warn("dns: read UDP", "err", err)
			s.pause(ctx)
			continue
		}
		s.counters.UDP.Add(1)
		from := session.RemoteAddr().(*net.UDPAddr).AddrPort()
		answer := s.respond(in[:n], from, false, out)
		if answer == nil || from.Port() == 0 {
			continue
		}
		if _, err := dns.WriteToSessionUDP(s.udp, answer, session); err != nil {
			s.log.Debug("dns: write UDP", "to", from.String(), "err", err)
		}
	}
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
