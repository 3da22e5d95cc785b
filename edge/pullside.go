package edge

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"perigee/clock"
	"perigee/edge/accesslog"
	"perigee/edge/cache"
	"perigee/edge/lane"
	"perigee/edge/pull"
	"perigee/edge/rules"
	"perigee/object"
	"perigee/origin/site"
)

// pullSide answers for pull sites. Their requests may be anything, so they go by net/http alone.
type pullSide struct {
	cache      *pull.Cache
	transports [2]*http.Transport // by whether HTTP/2 is spoken without TLS

	mu    sync.Mutex
	sites map[object.Site]*pullSite
}

// pullSite is a site as it was compiled from a version of its record.
type pullSite struct {
	version object.Version
	site    *pull.Site
	err     error
}

// newPullSide makes the part of a server that answers for pull sites. allow are addresses outside the public Internet where origins may be.
func newPullSide(s *Server, e *cache.Engine, allow []netip.Prefix, c clock.Clock) *pullSide {
	p := &pullSide{sites: map[object.Site]*pullSite{}}
	for i := range p.transports {
		p.transports[i] = site.NewTransport(site.Config{Allow: allow, Cleartext2: i == 1, Clock: c})
	}
	p.cache = pull.New(pull.Config{Name: s.node, Records: e.Records(), Purges: purges{e}, Clock: c, Log: s.log, Answered: s.answered})
	return p
}

// purges is the engine's log, as the pull cache sees it.
type purges struct{ *cache.Engine }

// Position implements pull.Purges.
func (p purges) Position() uint64 { return p.Applied() }

// close ends fills and connections to origins.
func (p *pullSide) close() {
	p.cache.Close()
	for _, t := range p.transports {
		t.CloseIdleConnections()
	}
}

// compiled returns the site of a record, compiled when the record changed.
func (p *pullSide) compiled(r *object.SiteRecord) (*pull.Site, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sites[r.Site]; s != nil && s.version == r.Version {
		return s.site, s.err
	}
	s := &pullSite{version: r.Version}
	s.site, s.err = p.compile(r)
	p.sites[r.Site] = s
	return s.site, s.err
}

func (p *pullSide) compile(r *object.SiteRecord) (*pull.Site, error) {
	u, cleartext2, err := site.ParseOrigin(r.Origin.URL)
	if err != nil {
		return nil, err
	}
	s := &pull.Site{
		Name: r.Site, Origin: u, ClientHost: r.Origin.ClientHost, BothSchemes: r.Origin.BothSchemes, Transport: p.transports[0],
		StaleUnreachable: pull.DefaultStaleUnreachable, Rules: rules.Compile(r.Rules.Paths),
	}
	if cleartext2 {
		s.Transport = p.transports[1]
	}
	if n := r.Origin.StaleUnreachable; n != nil {
		s.StaleUnreachable = time.Duration(*n) * time.Second
	}
	return s, nil
}

// pulled answers a request for a pull site; false if it is for no such site.
func (s *Server) pulled(w http.ResponseWriter, r *http.Request) bool {
	rec := s.pullRecord(r.Host)
	if rec == nil {
		return false
	}
	compiled, err := s.pull.compiled(rec)
	if err != nil {
		s.log.Error("a pull site cannot be served", "site", rec.Site, "err", err)
		http.Error(w, "502 Bad Gateway\nThis site has no usable origin.", http.StatusBadGateway)
		return true
	}
	s.pull.cache.Serve(w, r, compiled)
	return true
}

// pullRecord returns the record of the pull site that answers to a host, nil if there is none.
func (s *Server) pullRecord(hostField string) *object.SiteRecord {
	if s.pull == nil {
		return nil
	}
	host, err := object.ParseHost(hostField)
	if err != nil {
		return nil
	}
	rec, err := s.engine.Site(host)
	if err != nil || rec.Kind != object.Pull || rec.Origin == nil {
		return nil
	}
	return rec
}

// Elsewhere implements lane.Handler: pull sites, and those whose answers depend on who asks, are net/http's.
func (s onLane) Elsewhere(r *lane.Request) bool {
	if s.engine == nil {
		return false
	}
	host, err := object.ParseHost(view(r.Host))
	if err != nil {
		return false
	}
	site, err := s.engine.Site(host)
	return err == nil && (site.Kind == object.Pull || s.rules.of(site).PerOrigin())
}

// answered counts and logs an answer of a pull site.
func (s *Server) answered(r *http.Request, a pull.Answer) {
	s.tally.pulled(a)
	if s.access == nil {
		return
	}
	s.access.Add(s.tally.others(), &accesslog.Entry{
		Time: a.Began, Duration: a.Took, Client: r.RemoteAddr, Method: r.Method, Host: r.Host, Target: r.RequestURI, Minor: r.ProtoMinor, Status: a.Status, Bytes: a.Sent,
		Fwd: string(a.Outcome.Fwd), Reason: string(a.Outcome.Reason), Referer: r.Referer(), Agent: r.UserAgent(),
	})
}

// pulled counts an answer of a pull site.
func (t *tally) pulled(a pull.Answer) {
	s := &t.slots[t.others()].slow
	outcome := string(a.Outcome.Fwd)
	if a.Outcome.Hit() {
		outcome = "none"
		if a.Outcome.HasTTL {
			outcome = "hit"
			s.hits.Add(1)
		}
	} else {
		s.misses.Add(1)
	}
	f := s.of(words{a.Status, outcome, string(a.Outcome.Reason)})
	f.answers.Add(1)
	f.bytes.Add(a.Sent)
	t.sending(int(a.Sent))
}
