package contract

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"perigee/object"
	"perigee/origin"
)

const noDirect = "Clients cannot send files straight to the bucket. Uploads through the API are not concerned."

var requestChecks = []Check{
	{"clocks", Vital, "S3 refuses requests whose time is 15 minutes off. Set both clocks, best by NTP.", clocks},
	{"wrong secret is refused", Vital, "Anybody may write. " + useless, wrongSecret},
	{"missing bucket", Vital, "A bucket that is gone would pass for files that are gone. " + useless, missingBucket},
	{"body damaged on its way", Limited, "A byte that changes between Perigee and the store is found when an edge reads it, not when it is written: " +
		"the file then cannot be served until it is published again.", damaged},
	{"presigned parts", Limited, noDirect, presignedParts},
	{"presigned parts of another size or key are refused", Limited, "Whoever may send one file straight to the bucket could fill or change it: do not allow direct uploads.", presignedOther},
	{"presigned parts that have expired are refused", Limited, "Whoever may send a file straight to the bucket may do so for ever: do not allow direct uploads.", presignedExpired},
}

// tolerable is how far the clocks may be apart: a third of what S3 tolerates.
const tolerable = 5 * time.Minute

func clocks(t *trial) {
	t.put(t.key("x"), nil)
	if skew := time.Duration(t.skew.Load()).Round(time.Second); t.seen.Load() && skew.Abs() > tolerable {
		t.failf("the store's clock is %v apart from the one here", skew)
	}
}

// other opens both halves with another configuration.
func (t *trial) other(cfg origin.Config, use func(*Bucket)) {
	b := &Bucket{cfg: cfg, clock: t.clock}
	var err error
	b.reader, err = origin.NewReader(cfg)
	t.ok(err)
	defer b.reader.Close()
	b.writer, err = origin.NewWriter(t.ctx, cfg)
	t.ok(err)
	defer b.writer.Close()
	use(b)
}

func wrongSecret(t *trial) {
	key := t.key("x")
	t.put(key, []byte("x"))
	cfg := t.cfg
	if cfg.AccessKey == "" { // keys of AWS's chain are not ours to see
		cfg.AccessKey = "AKIAIOSFODNN7EXAMPLE"
	}
	cfg.SecretKey = "wrong-" + cfg.SecretKey
	t.other(cfg, func(bad *Bucket) {
		_, _, err := bad.get(t.ctx, key, origin.GetOptions{})
		t.is(err, origin.ErrDenied)
		for _, o := range []origin.PutOptions{{}, {IfNoneMatch: true}} {
			_, err = bad.writer.Put(t.ctx, key, []byte("y"), o)
			t.is(err, origin.ErrDenied)
		}
	})
	t.holds(key, []byte("x"))
}

// missingBucket makes sure that a bucket that is gone does not pass for objects that are. Some stores say of a bucket that is not
// there that it is nobody's to see; that does as well.
func missingBucket(t *trial) {
	cfg := t.cfg
	cfg.Bucket = cfg.Bucket[:min(len(cfg.Bucket), 40)] + "-" + object.HashOf([]byte(t.dir)).String()[:16]
	cfg.MaxRetries = -1
	gone := func(what string, err error) {
		if err == nil {
			t.failf("%s: it succeeded", what)
		}
		if !isOneOf(err, origin.ErrUnavailable, origin.ErrDenied) {
			t.failf("%s: %w", what, err)
		}
	}
	t.other(cfg, func(none *Bucket) {
		_, _, err := none.get(t.ctx, "b/x", origin.GetOptions{})
		gone("get", err)
		_, err = none.reader.Head(t.ctx, "b/x")
		gone("head", err)
		gone("check", none.reader.Check(t.ctx))
		_, err = none.writer.Put(t.ctx, "b/x", nil, origin.PutOptions{IfMatch: noETag})
		gone("put", err)
		listed := error(nil)
		for _, err := range none.reader.List(t.ctx, "b/") {
			listed = err
		}
		gone("list", listed)
	})
}

// damaged turns one bit of a body over, after it was signed and before it is sent.
func damaged(t *trial) {
	const size = 1 << 20
	cfg := t.cfg
	cfg.MaxRetries = -1
	wrap := cfg.Wrap
	cfg.Wrap = func(rt http.RoundTripper) http.RoundTripper {
		rt = wrap(rt)
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Body != nil && r.ContentLength >= size {
				r = r.Clone(r.Context())
				r.Body = &spoiled{ReadCloser: r.Body, at: size / 2}
			}
			return rt.RoundTrip(r)
		})
	}
	t.other(cfg, func(bad *Bucket) {
		key := t.key("x")
		if _, err := bad.writer.Put(t.ctx, key, blob("damaged", size), origin.PutOptions{}); err == nil {
			t.failf("it was stored")
		}
		t.absent(key)
		upload := t.key("u")
		id := t.create(upload)
		if _, err := bad.writer.Part(t.ctx, upload, id, 1, blob("damaged", size)); err == nil {
			t.failf("it was stored as a part")
		}
	})
}

// spoiled is a body with one bit of its byte at that place turned over.
type spoiled struct {
	io.ReadCloser
	at int
}

func (s *spoiled) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.at >= 0 && s.at < n {
		p[s.at] ^= 1
	}
	s.at -= n
	return n, err
}

// presigner signs for the address that the bucket has here.
func (t *trial) presigner() *origin.Presigner {
	public := t.cfg.Endpoint
	if public == "" {
		public = "https://s3." + t.cfg.Region + ".amazonaws.com"
	}
	p, err := t.writer.Presigner(public)
	t.ok(err)
	return p
}

// direct begins an upload whose parts are presigned.
func (t *trial) direct(p *origin.Presigner, key object.Key) (id string) {
	id, err := p.Create(t.ctx, key)
	t.ok(err)
	t.uploads = append(t.uploads, origin.Upload{Key: key, ID: id})
	return id
}

// send puts body at a presigned URL, as somebody without a key, and returns the status of the answer.
func (t *trial) send(url string, body []byte) int {
	req, err := http.NewRequestWithContext(t.ctx, http.MethodPut, url, bytes.NewReader(body))
	t.ok(err)
	c := &http.Client{Transport: t.cfg.Wrap(&http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}), Timeout: time.Minute}
	res, err := c.Do(req)
	t.ok(err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	t.ok(err)
	return res.StatusCode
}

func presignedParts(t *trial) {
	p, key := t.presigner(), t.key("u")
	id := t.direct(p, key)
	bodies := three("p")
	for i, body := range bodies {
		url, err := p.Part(t.ctx, key, id, i+1, int64(len(body)), time.Hour)
		t.ok(err)
		if status := t.send(url, body); status != http.StatusOK {
			t.failf("part %d: HTTP %d", i+1, status)
		}
	}
	parts, err := t.writer.ListParts(t.ctx, key, id)
	t.ok(err)
	_, err = t.writer.Complete(t.ctx, key, id, parts)
	t.ok(err)
	t.holds(key, bytes.Join(bodies, nil))
}

func presignedOther(t *trial) {
	p, key := t.presigner(), t.key("u1")
	id := t.direct(p, key)
	other := t.direct(p, t.key("u2"))
	body := []byte("the part")
	url, err := p.Part(t.ctx, key, id, 1, int64(len(body)), time.Hour)
	t.ok(err)
	if status := t.send(url, body[1:]); status/100 == 2 {
		t.failf("a body of another size than the one signed was taken")
	}
	elsewhere := strings.Replace(url, "/u1?", "/u2?", 1)
	if elsewhere == url {
		t.failf("the key is not in the address")
	}
	elsewhere = strings.Replace(elsewhere, neturl.QueryEscape(id), neturl.QueryEscape(other), 1)
	if status := t.send(elsewhere, body); status/100 == 2 {
		t.failf("the signature of one upload opened another")
	}
	for _, up := range t.uploads {
		parts, err := t.writer.ListParts(t.ctx, up.Key, up.ID)
		t.ok(err)
		if len(parts) != 0 {
			t.failf("a refused part was kept")
		}
	}
}

// presignedExpired waits until a URL that is good for a second is refused.
func presignedExpired(t *trial) {
	p, key := t.presigner(), t.key("u")
	url, err := p.Part(t.ctx, key, t.direct(p, key), 1, 1, time.Second)
	t.ok(err)
	limit := t.clock.Now().Add(tolerable / 10)
	tick := t.clock.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for t.send(url, []byte("x"))/100 == 2 {
		if t.clock.Now().After(limit) {
			t.failf("a URL that was good for a second is still good after %v", tolerable/10)
		}
		select {
		case <-tick.C():
		case <-t.ctx.Done():
			t.ok(fmt.Errorf("wait for the end of a presigned URL: %w", t.ctx.Err()))
		}
	}
}
