package pull

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/pull/judge"
)

// theory drives the cache through a random history and has it judged.
type theory struct {
	*rig
	mu   sync.Mutex
	plan judge.Plan
	id   int
	seen []judge.Forwarded
}

// RoundTrip is the origin of the plan.
func (o *theory) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Body != nil {
		_, _ = io.Copy(io.Discard, q.Body)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.id++
	target := q.URL.Opaque
	if q.URL.RawQuery != "" {
		target += "?" + q.URL.RawQuery
	}
	asked := judge.Request{At: time.Now(), Method: q.Method, Target: target, Header: q.Header.Clone()}
	answer := o.plan.Answer(asked, o.id, time.Now())
	o.seen = append(o.seen, judge.Forwarded{Request: asked, Response: answer})
	if answer.Status == 0 {
		return nil, errors.New("connection reset")
	}
	resp := &http.Response{StatusCode: answer.Status, Header: answer.Header.Clone(), ContentLength: -1, Request: q, ProtoMajor: 1, ProtoMinor: 1}
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil {
		resp.ContentLength = n
	}
	var body io.Reader = strings.NewReader(answer.Body)
	if answer.Failed {
		body = io.MultiReader(body, broken{})
	}
	resp.Body = io.NopCloser(body)
	return resp, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// exchange sends a request and returns what was to be seen; background is what the origin was asked without a client waiting for it.
func (o *theory) exchange(q judge.Request, plan judge.Plan) (x judge.Exchange, background []judge.Forwarded) {
	o.mu.Lock()
	o.plan, o.seen = plan, nil
	o.mu.Unlock()
	r := httptest.NewRequest(q.Method, "http://"+judge.Host+q.Target, strings.NewReader(""))
	r.Body, r.ContentLength = http.NoBody, 0
	r.Header = q.Header.Clone()
	r.RequestURI, r.Host = q.Target, judge.Host
	g := o.send(r)
	synctest.Wait()
	for name, lines := range g.Header() {
		if len(lines) == 0 { // says to net/http that it must not add one
			g.Header().Del(name)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	x = judge.Exchange{Client: q, Got: judge.Response{At: time.Now(), Status: g.Code, Header: g.Header().Clone(), Body: g.Body.String(), Failed: g.broken}}
	if strings.Contains(g.cacheStatus(), "; hit") {
		return x, o.seen
	}
	x.Origin = o.seen
	return x, nil
}

// TestRandomHistories: ten thousand random exchanges, judged by a model that was written from the texts of the RFCs alone. A disagreement is a bug in one of
// them. PULL_EXCHANGES and PULL_SEED ask for more, and for others.
func TestRandomHistories(t *testing.T) {
	total, seed := 10_000, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("PULL_EXCHANGES")); err == nil {
		total = n
	}
	if n, err := strconv.ParseUint(os.Getenv("PULL_SEED"), 10, 64); err == nil {
		seed = n
	}
	const length = 500
	kinds := map[string]int{}
	for i := range uint64(total / length) {
		synctest.Test(t, func(t *testing.T) {
			o := &theory{rig: newRig(t)}
			o.site.Transport = o
			o.history(judge.NewGenerator(seed+i), length, kinds)
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed+i)
		}
	}
	t.Logf("%d exchanges: %v", total, kinds)
}

// history runs and judges one history.
func (o *theory) history(g *judge.Generator, length int, kinds map[string]int) {
	o.t.Helper()
	g.Now = time.Now()
	c := judge.New()
	c.Adds = []string{"Cache-Status", "X-Content-Type-Options"}
	lines := map[string][]string{}
	for n := range length {
		q, plan := g.Next()
		time.Sleep(time.Until(g.Now))
		q.At = time.Now()
		x, background := o.exchange(q, plan)
		lines[q.Target] = append(lines[q.Target], line(n, x, background))
		errs := c.Check(x)
		if len(background) > 0 {
			errs = append(errs, c.Check(judge.Exchange{Origin: background})...)
		}
		for _, err := range errs {
			if o.acceptable(err) {
				kinds[fmt.Sprintf("%T", err)]++
				continue
			}
			past := lines[q.Target]
			o.t.Errorf("exchange %d: %v\n%s", n, err, strings.Join(past[max(0, len(past)-60):], "\n"))
			return
		}
		word, _, _ := strings.Cut(strings.TrimPrefix(x.Got.Header.Get("Cache-Status"), "edge; "), ";")
		kinds[word]++
	}
}

// line says what happened in an exchange.
func line(n int, x judge.Exchange, background []judge.Forwarded) string {
	s := fmt.Sprintf("%d %s %s %v -> %d %v %.20q", n, x.Client.Method, x.Client.Target, x.Client.Header, x.Got.Status, x.Got.Header, x.Got.Body)
	for _, f := range append(x.Origin, background...) {
		s += fmt.Sprintf("\n   asked %v, answered %d %v %.20q failed %v", f.Request.Header, f.Response.Status, f.Response.Header, f.Response.Body, f.Response.Failed)
	}
	return s
}

// acceptable are findings that are no mistakes: a cache may forget.
func (o *theory) acceptable(err error) bool { return errors.As(err, new(judge.Missed)) }
