package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"perigee/clock"
	"perigee/problem"
)

// DefaultURL is the console of `perigee up`.
const DefaultURL = "http://127.0.0.1:8080"

// Config is what New needs. The zero Config reaches `perigee up` on this machine.
type Config struct {
	// BaseURL is where the API is, without /api/v1; DefaultURL when empty.
	BaseURL string
	// Key is the API key; none is needed on loopback with embedded defaults.
	Key string
	// HTTP sends the requests; nil is a client of our own that follows no redirect and keeps connections for parallel uploads.
	HTTP *http.Client
	// UserAgent names the program.
	UserAgent string
	// Retry says how calls that may be repeated are.
	Retry Retry
	// Clock is what pauses are measured by; clock.System when nil.
	Clock clock.Clock
	// Consistency is what an earlier Client of the same API has seen, as its Consistency told: reads see no older state.
	Consistency []string
}

// Client calls the API.
type Client struct {
	base  string
	key   string
	http  *http.Client
	agent string
	retry Retry
	clock clock.Clock
	seen  seen
}

// New checks c. It connects to nothing.
func New(c Config) (*Client, error) {
	if c.BaseURL == "" {
		c.BaseURL = DefaultURL
	}
	u, err := url.Parse(c.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("API address %q: write it as http://host:port", c.BaseURL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("API address %s: it has more than scheme, host, port and path; a key is given by its own flag or variable", u.Redacted())
	}
	if strings.ContainsAny(c.Key, "\r\n\x00") {
		return nil, errors.New("the API key has a line break in it; it was not copied whole")
	}
	if c.HTTP == nil {
		c.HTTP = newHTTP()
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	return &Client{
		base: strings.TrimRight(c.BaseURL, "/"), key: c.Key, http: c.HTTP, agent: c.UserAgent, retry: c.Retry.withDefaults(), clock: c.Clock,
		seen: seen{tokens: slices.Clone(c.Consistency)},
	}, nil
}

func newHTTP() *http.Client {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		// Counted from the end of the body. The server gives itself 100 s to record a file.
		ResponseHeaderTimeout: 3 * time.Minute,
		MaxIdleConns:          128,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     true,
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// BaseURL returns where the API is.
func (c *Client) BaseURL() string { return c.base }

// Consistency returns what this Client has seen of the catalogue: opaque words, none where it has no replicas. They are no secrets.
func (c *Client) Consistency() []string { return c.seen.all() }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrPrecondition says that a file is not, or no longer, in the state that IfMatch or IfNoneMatch asked for.
var ErrPrecondition = errors.New("the file is not in the expected state")

// Problem is an error answer of the API, RFC 9457.
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
	// RetryAfter is how long the server asks to wait; 0 if it says nothing.
	RetryAfter time.Duration `json:"-"`
}

// Error returns the server's sentence, its status and the id by which its log knows the request.
func (p *Problem) Error() string {
	what := p.Detail
	if what == "" {
		what = p.Title
	}
	if p.RequestID == "" {
		return fmt.Sprintf("%s (HTTP %d)", what, p.Status)
	}
	return fmt.Sprintf("%s (HTTP %d, request %s)", what, p.Status, p.RequestID)
}

// Kind returns the kind of problem; "" if the answer was not one of the API's.
func (p *Problem) Kind() problem.Kind { return problem.KindOf(p.Type) }

// Is matches the errors that statuses and kinds stand for, and the problem.Kind.
func (p *Problem) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return p.Status == http.StatusNotFound || p.Status == http.StatusGone
	case fs.ErrPermission:
		return p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden
	case fs.ErrExist:
		return p.Kind() == "exists"
	case ErrPrecondition:
		return p.Status == http.StatusPreconditionFailed
	}
	kind, ok := target.(problem.Kind)
	return ok && p.Kind() == kind
}

// Temporary reports whether the same call may succeed a little later: the server or the way to it failed, or
// asked to wait. It says nothing about whether the failed call took effect.
func Temporary(err error) bool {
	var p *Problem
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return p.RetryAfter > 0
	}
	var stored *storageError
	if errors.As(err, &stored) {
		return stored.temporary()
	}
	var unreachable *unreachableError
	return errors.As(err, &unreachable)
}

// unreachableError is a request without an answer.
type unreachableError struct {
	base string
	err  error
}

func (e *unreachableError) Error() string {
	var op *net.OpError
	if errors.As(e.err, &op) && op.Op == "dial" {
		return fmt.Sprintf("cannot reach Perigee at %s: %v; start it with `perigee up`, or say where it is with --url or PERIGEE_URL", e.base, op.Err)
	}
	return fmt.Sprintf("no answer from Perigee at %s: %v", e.base, e.err)
}

func (e *unreachableError) Unwrap() error { return e.err }

// maxAnswer bounds an answer, in bytes. A page of 1,000 files with long names has about 4 MiB.
const maxAnswer = 64 << 20

// do sends a request and returns an answer that is no error; its body is to be closed.
func (c *Client) do(req *http.Request, accept string) (*http.Response, error) {
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	req.Header.Set("Accept", accept)
	sent := c.seen.tell(req.Header)
	res, err := c.http.Do(req)
	if err != nil {
		if ctxErr := req.Context().Err(); ctxErr != nil {
			return nil, ctxErr
		}
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the URL is told once, by us
		}
		return nil, &unreachableError{c.base, err}
	}
	c.seen.learn(sent, res.Header)
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, problemOf(res)
	}
	return res, nil
}

// call sends a request and decodes a 2xx answer into out, if that is not nil. It returns the answer's status.
func (c *Client) call(req *http.Request, out any) (int, error) {
	res, err := c.do(req, "application/json, application/problem+json")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return res.StatusCode, &unreachableError{c.base, fmt.Errorf("the answer broke off: %w", err)}
	case len(b) > maxAnswer:
		return res.StatusCode, fmt.Errorf("answer of %s: it is longer than %d bytes", c.base, maxAnswer)
	case out == nil || len(b) == 0:
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return res.StatusCode, fmt.Errorf("answer of %s is not what its API promises (is it Perigee, and of this version?): %w", c.base, err)
	}
	return res.StatusCode, nil
}

// problemOf reads an error answer. One that is no problem document becomes one.
func problemOf(res *http.Response) *Problem {
	p := &Problem{}
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	ct, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || ct != "application/problem+json" || json.Unmarshal(b, p) != nil || p.Detail == "" && p.Title == "" {
		p = &Problem{Title: "the server answered " + res.Status, RequestID: res.Header.Get("X-Request-Id")}
		if to := res.Header.Get("Location"); res.StatusCode/100 == 3 && to != "" {
			p.Detail = "the server sends us on to " + to + "; give that address with --url or PERIGEE_URL if you trust it"
		}
	}
	p.Status = res.StatusCode
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	return p
}
