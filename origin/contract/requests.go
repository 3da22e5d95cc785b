package contract

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"perigee/object"
	"perigee/origin"
)

const direct = "Clients cannot send files straight to the bucket. Uploads through the API are not concerned."

var requestChecks = []Check{
	{"clocks", Vital, "S3 refuses requests whose time is 15 minutes off. Set both clocks, best by NTP.", clocks},
	{"wrong secret is refused", Vital, "Anybody may write. " + useless, wrongSecret},
	{"missing bucket", Vital, "A bucket that is gone would pass for files that are gone. " + useless, missingBucket},
	{"body damaged on its way", Limited, "A byte that changes between Perigee and the store is found when an edge reads it, not when it is written: " +
		"the file then cannot be served until it is published again.", damaged},
	{"presigned put", Limited, direct, presignedPut},
	{"presigned parts", Limited, direct, presignedParts},
	{"presigned request that has expired", Limited, direct + " A presigned request would be good for ever; do not hand any out.", presignedExpired},
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

// send sends a presigned request, as somebody without a key.
func (t *trial) send(r origin.Presigned, body []byte) (status int) {
	req, err := http.NewRequestWithContext(t.ctx, r.Method, r.URL, bytes.NewReader(body))
	t.ok(err)
	req.Header = r.Header.Clone()
	c := &http.Client{Transport: t.cfg.Wrap(&http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}), Timeout: time.Minute}
	res, err := c.Do(req)
	t.ok(err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	t.ok(err)
	return res.StatusCode
}

func presignedPut(t *trial) {
	key, body := t.key("x"), blob("presigned", 10000)
	r, err := t.writer.PresignPut(t.ctx, key, int64(len(body)), time.Hour)
	t.ok(err)
	other := r
	other.URL = strings.Replace(r.URL, "/x?", "/y?", 1)
	if other.URL == r.URL {
		t.failf("the key is not in %s", strings.SplitN(r.URL, "?", 2)[0])
	}
	if status := t.send(other, body); status/100 == 2 {
		t.failf("the signature of one key opened another")
	}
	t.absent(t.key("y"))
	if status := t.send(r, body[1:]); status/100 == 2 {
		t.failf("a body of another size than the one signed was taken")
	}
	t.absent(key)
	if status := t.send(r, body); status != http.StatusOK {
		t.failf("HTTP %d", status)
	}
	t.holds(key, body)
}

func presignedParts(t *trial) {
	key := t.key("u")
	id, err := t.writer.CreateDirect(t.ctx, key)
	t.ok(err)
	t.uploads = append(t.uploads, origin.Upload{Key: key, ID: id})
	bodies := three("p")
	for i, body := range bodies {
		r, err := t.writer.PresignPart(t.ctx, key, id, i+1, int64(len(body)), time.Hour)
		t.ok(err)
		if status := t.send(r, body); status != http.StatusOK {
			t.failf("part %d: HTTP %d", i+1, status)
		}
	}
	parts, err := t.writer.ListParts(t.ctx, key, id)
	t.ok(err)
	_, err = t.writer.Complete(t.ctx, key, id, parts)
	t.ok(err)
	t.holds(key, bytes.Join(bodies, nil))
}

// presignedExpired waits until a request that is good for a second is refused.
func presignedExpired(t *trial) {
	r, err := t.writer.PresignPut(t.ctx, t.key("x"), 1, time.Second)
	t.ok(err)
	limit := t.clock.Now().Add(tolerable / 10)
	tick := t.clock.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for t.send(r, []byte("x"))/100 == 2 {
		if t.clock.Now().After(limit) {
			t.failf("a request that was good for a second is still good after %v", tolerable/10)
		}
		select {
		case <-tick.C():
		case <-t.ctx.Done():
			t.ok(fmt.Errorf("wait for the end of a presigned request: %w", t.ctx.Err()))
		}
	}
}
