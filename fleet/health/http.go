package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"perigee/fleet"
)

// DefaultHost is a host that no site has: ".invalid" is reserved for that (RFC 2606 §2).
const DefaultHost = "health.invalid"

// agent is how probes name themselves in the logs of edges. They are counted and logged like everybody's requests: an edge must not
// believe a header.
const agent = "perigee-probe"

// maxProbeBody is how much of an answer is read.
const maxProbeBody = 16 << 10

// HTTP asks edges over HTTP/1.1; see the package comment.
type HTTP struct {
	path, host string
	transport  *http.Transport
}

// NewHTTP returns an HTTP that asks for path on host; "" means "/" and DefaultHost.
func NewHTTP(path, host string) *HTTP {
	return &HTTP{
		path: cmp.Or(path, "/"), host: cmp.Or(host, DefaultHost),
		transport: &http.Transport{
			DialContext: (&net.Dialer{FallbackDelay: -1}).DialContext, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxProbeBody,
		},
	}
}

// Check implements Check: every family that DNS names, and this machine has a way to, must answer.
func (h *HTTP) Check(ctx context.Context, edge *fleet.Node) error {
	var noRoute error
	answered := false
	for _, addr := range firstOfEach(edge.Addrs) {
		err := h.ask(ctx, edge.Node, addr)
		switch {
		case err == nil:
			answered = true
		case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			noRoute = err
		default:
			return &Failure{wordFor(err), fmt.Errorf("probe %s at %s: %w", edge.Node, addr, err)}
		}
	}
	if !answered {
		return &Failure{WordNoRoute, fmt.Errorf("probe %s: %w", edge.Node, cmp.Or(noRoute, errors.New("it has no address")))}
	}
	return nil
}

// firstOfEach returns the first address of each family: those that DNS answers.
func firstOfEach(addrs []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	var has [2]bool
	for _, a := range addrs {
		f := 0
		if a.Addr().Unmap().Is6() {
			f = 1
		}
		if a.IsValid() && !a.Addr().IsUnspecified() && !has[f] {
			has[f] = true
			out = append(out, a)
		}
	}
	return out
}

var (
	errStatus = errors.New("it answers that it cannot serve")
	errNode   = errors.New("the answer is not the edge's own")
)

func (h *HTTP) ask(ctx context.Context, node string, addr netip.AddrPort) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+h.path, nil)
	if err != nil {
		return err
	}
	req.Host = h.host
	req.Header.Set("User-Agent", agent)
	// A redirect is an answer as good as any: RoundTrip follows none.
	res, err := h.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxProbeBody)); err != nil {
		return err
	}
	if !from(res.Header, node) {
		return errNode
	}
	if res.StatusCode >= 500 {
		return fmt.Errorf("%w: %s", errStatus, res.Status)
	}
	return nil
}

// from reports whether the first cache in Cache-Status, the one nearest to the origin (RFC 9211 §2), is the edge.
func from(h http.Header, node string) bool {
	first, _, _ := strings.Cut(h.Get("Cache-Status"), ",")
	first, _, _ = strings.Cut(first, ";")
	return strings.Trim(strings.TrimSpace(first), `"`) == node
}

func wordFor(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return WordTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return WordRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return WordReset
	case errors.Is(err, syscall.EHOSTUNREACH):
		return WordNoRoute
	case errors.Is(err, errNode):
		return WordWrongNode
	case errors.Is(err, errStatus), strings.Contains(err.Error(), "malformed HTTP"):
		return WordBadAnswer
	}
	return WordError
}
