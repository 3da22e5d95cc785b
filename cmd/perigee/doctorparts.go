package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/sys/unix"

	"perigee/fleet"
	"perigee/object"
	"perigee/origin"
)

// The parts of Perigee as doctor meets them: from outside, over the network.

// diskSpace returns the bytes that are free for this user, and all there are.
func diskSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// knock sends one request that changes nothing and returns the answer's header.
func (d *doctor) knock(ctx context.Context, addr, host string) (http.Header, int, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr, nil)
	if err != nil {
		return nil, 0, err
	}
	if host != "" {
		req.Host = host
	}
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, 0, err
	}
	return res.Header, res.StatusCode, res.Body.Close()
}

// storage looks whether the bucket is there and our key opens it.
func (d *doctor) storage(ctx context.Context) {
	s := d.cfg.Storage
	advice := "start it with `perigee up` or `perigee storage`, or correct storage.endpoint"
	if s.Endpoint != "" {
		h, _, err := d.knock(ctx, s.Endpoint, "")
		if err != nil {
			d.found("storage", err, advice, "%s", s.Endpoint)
			return
		}
		d.clock("the storage", h)
	}
	bucket := bucketOf(s)
	bucket.Clock = d.a.clock
	if s.AccessKey == "" {
		bucket.AccessKey, bucket.SecretKey = s.EdgeAccessKey, s.EdgeSecretKey.Reveal()
	}
	if bucket.AccessKey == "" && s.Endpoint != "" {
		d.found("storage", nil, "", "%s answers; this machine has no key to look into it", s.Endpoint)
		return
	}
	r, err := origin.NewReader(bucket)
	if err == nil {
		defer r.Close()
		ctx, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		err = r.Check(ctx)
	}
	if errors.Is(err, origin.ErrDenied) {
		advice = "the storage does not take storage.access_key and storage.secret_key; correct them"
	}
	d.found("storage", err, advice, "%s, bucket %s", s.Endpoint, s.Bucket)
}

// bus looks whether a NATS server answers: it speaks first.
func (d *doctor) bus(ctx context.Context) {
	u, err := url.Parse(d.cfg.Bus.URL)
	if err == nil {
		err = d.greeting(ctx, u.Host)
	}
	d.found("bus", err, "start it with `perigee up` or `perigee bus`, or correct bus.url; until then edges serve what they know, and purges wait", "%s", d.cfg.Bus.URL)
}

func (d *doctor) greeting(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(d.a.clock.Now().Add(d.Timeout)); err != nil {
		return err
	}
	var b [5]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return fmt.Errorf("it does not greet as NATS does: %w", err)
	}
	if string(b[:]) != "INFO " {
		return errors.New("it does not greet as NATS does; something else listens there")
	}
	return nil
}

// api asks for the fleet, as every command would.
func (d *doctor) api(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	f, err := d.client.Fleet(ctx)
	if err != nil {
		d.found("API", err, "start it with `perigee up` or `perigee upload`; for a key see `perigee keys`", "")
		return
	}
	d.fleet = &f
	d.found("API", nil, "", "%s, %s", d.client.BaseURL(), plural(len(f.Nodes), "node"))
	if h, _, err := d.knock(ctx, d.client.BaseURL(), ""); err == nil {
		d.clock("the API", h)
	}
}

// dns asks for the default site over UDP and TCP.
func (d *doctor) dns(ctx context.Context) {
	server := dialable(d.cfg.DNS.Listen)
	name := string(d.cfg.Zone.HostOf(object.Site(d.cfg.API.DefaultSite)))
	for _, network := range []string{"udp", "tcp"} {
		ask, cancel := context.WithTimeout(ctx, d.Timeout)
		addrs, err := askDNS(ask, network, server, name)
		cancel()
		if err == nil && len(addrs) == 0 {
			err = errors.New("no address: no edge is fit to serve")
		}
		detail := fmt.Sprintf("%s at %s", name, server)
		if err == nil {
			detail += fmt.Sprintf(" is %s", addrs[0])
		}
		d.found("DNS, "+strings.ToUpper(network), err,
			"start it with `perigee up` or `perigee dns`; see with `perigee fleet` whether edges are ready; a firewall may hold back this protocol", "%s", detail)
	}
}

// dialable turns a listen address into one to connect to.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// edgeToAsk is an edge to be looked at.
type edgeToAsk struct {
	name  string
	addrs []netip.AddrPort
	down  bool
	state fleet.State
}

// edges asks each edge the fleet has, or the configuration if the API is away, for something, as a reader would.
func (d *doctor) edges(ctx context.Context) {
	var list []edgeToAsk
	if d.fleet != nil {
		for _, n := range d.fleet.Nodes {
			if n.Role == fleet.RoleEdge {
				list = append(list, edgeToAsk{n.Report.Node, n.Addrs, n.Down, n.State})
			}
		}
	} else {
		for _, e := range d.cfg.Edges {
			list = append(list, edgeToAsk{e.Name, e.PublicAddrs(), false, "not known of"})
		}
	}
	if len(list) == 0 {
		d.found("edges", errors.New("the fleet has none"), "start one with `perigee up` or `perigee edge --name …`", "")
	}
	host := string(d.cfg.Zone.HostOf(object.Site(d.cfg.API.DefaultSite)))
	for _, e := range list {
		d.edge(ctx, e, host)
	}
}

func (d *doctor) edge(ctx context.Context, e edgeToAsk, host string) {
	const advice = "start it, or look at its log; DNS sends nobody to an edge that is down"
	if e.down {
		d.found("edge "+e.name, errors.New("it has stopped reporting"), advice+"; `perigee fleet forget` removes one that is gone for good", "")
		return
	}
	if len(e.addrs) == 0 {
		d.found("edge "+e.name, errors.New("it reports no address for readers"), "set addrs of the edge in the configuration", "")
		return
	}
	for _, ap := range e.addrs {
		h, status, err := d.knock(ctx, "http://"+ap.String()+"/", host)
		if err == nil && h.Get("Cache-Status") == "" {
			err = fmt.Errorf("the answer (HTTP %d) is not that of an edge; something else listens there", status)
		}
		if err == nil && status >= 500 {
			err = fmt.Errorf("it answers HTTP %d, %s", status, h.Get("Cache-Status"))
		}
		d.found("edge "+e.name, err, advice, "%s, %s", ap, e.state)
	}
}

// admin asks the health of this machine's processes.
func (d *doctor) admin(ctx context.Context) {
	ask1 := func(name, listen string) {
		ctx, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		url := "http://" + dialable(listen) + "/readyz"
		status, text, err := ask(ctx, url, d.cfg.Admin.Token.Reveal())
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("HTTP %d: %s", status, text)
		}
		d.found(name, err, "start the process, or see in its log why it is not ready", "%s", url)
	}
	if d.cfg.Admin.Listen != "" {
		ask1("health", d.cfg.Admin.Listen)
	}
	for _, e := range d.cfg.Edges {
		if e.Admin != "" {
			ask1("health of "+e.Name, e.Admin)
		}
	}
	if d.cfg.DNS.Admin != "" {
		ask1("health of DNS", d.cfg.DNS.Admin)
	}
}
