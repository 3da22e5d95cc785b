package contract_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
	"perigee/origin/contract"
	"perigee/origin/origintest"
)

func TestMain(m *testing.M) { origintest.Main(m) }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// spoiled changes the answers of a store.
func spoiled(change func(*http.Request, *http.Response)) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			res, err := next.RoundTrip(r)
			if err == nil {
				change(r, res)
			}
			return res, err
		})
	}
}

// says makes a store answer a status where it answered another, for requests of one method.
func says(method string, instead, status int) func(http.RoundTripper) http.RoundTripper {
	return spoiled(func(r *http.Request, res *http.Response) {
		if r.Method == method && res.StatusCode == instead {
			res.StatusCode, res.Status = status, http.StatusText(status)
			res.Body.Close()
			res.Body, res.ContentLength = http.NoBody, 0 // it may say more than the status
			res.Header.Set("Content-Length", "0")
			res.Header.Set("ETag", `"00000000000000000000000000000000"`)
			res.Header.Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		}
	})
}

// writes replaces text in the bodies of a store's answers.
func writes(old, instead string) func(http.RoundTripper) http.RoundTripper {
	return spoiled(func(_ *http.Request, res *http.Response) {
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil {
			b = bytes.ReplaceAll(b, []byte(old), []byte(instead))
		}
		res.Body = io.NopCloser(bytes.NewReader(b))
		if res.Request.Method != http.MethodHead {
			res.ContentLength = int64(len(b))
		}
	})
}

// ignores answers requests of a method as if it had done what they ask.
func ignores(method string) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method != method {
				return next.RoundTrip(r)
			}
			return &http.Response{StatusCode: http.StatusNoContent, Status: "204 No Content", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
	}
}

// TestChecksFail sees each of these checks fail on a store that lacks just what it is about: a real one, spoiled on the way.
func TestChecksFail(t *testing.T) {
	s := origintest.Start(t)
	later := spoiled(func(_ *http.Request, res *http.Response) {
		res.Header.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	})
	noRanges := spoiled(func(_ *http.Request, res *http.Response) { res.Header.Del("Content-Range") })
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"conditional put":                 says("PUT", 200, 412),
		"conditional put is refused":      says("PUT", 412, 200),
		"race of conditional puts":        says("PUT", 412, 200),
		"conditional put of a large body": says("PUT", 412, 200),
		"conditional get":                 says("GET", 412, 200),
		"missing object":                  says("GET", 404, 500),
		"ranges":                          noRanges,
		"delete":                          ignores("DELETE"),
		"multipart aborted":               ignores("DELETE"),
		"unfinished uploads":              writes("<Key>", "<Other>"),
		"list in pages":                   writes("<IsTruncated>true", "<IsTruncated>false"),
		"list sees what was written":      writes("<Contents>", "<Nothing>"),
		"checksums of parts":              writes("ChecksumCRC32>", "Other>"),
		"clocks":                          later,
		"wrong secret is refused":         says("GET", 403, 200),
		"body damaged on its way":         says("PUT", 400, 200),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := s.Config()
			cfg.Wrap, cfg.MaxRetries = wrap, -1
			b, err := contract.Open(t.Context(), cfg, object.ScratchPrefix+strings.ReplaceAll(name, " ", "")+"/")
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			for _, c := range contract.Checks() {
				if c.Name == name {
					if err := b.Try(t.Context(), c); err == nil {
						t.Fatal("it holds")
					} else if c.Without == "" {
						t.Fatal("nothing is said about what it means")
					}
					return
				}
			}
			t.Fatal("there is no such check")
		})
	}
}

// TestSweep spares what is young: it may be of another doctor that is at work.
func TestSweep(t *testing.T) {
	s := origintest.Start(t)
	w, err := origin.NewWriter(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	key := object.Key(object.ScratchPrefix + "dead/x")
	if _, err := w.Put(t.Context(), key, nil, origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ahead time.Duration
		want  int
	}{{0, 0}, {2 * time.Hour, 1}} {
		cfg := s.Config()
		cfg.Clock = ahead{clock.System, c.ahead}
		b, err := contract.Open(t.Context(), cfg, object.ScratchPrefix+"this/")
		if err != nil {
			t.Fatal(err)
		}
		n, err := b.Sweep(t.Context(), object.ScratchPrefix)
		b.Close()
		if err != nil || n != c.want {
			t.Fatalf("%v later: removed %d, %v", c.ahead, n, err)
		}
	}
}

// ahead is a clock that goes before another.
type ahead struct {
	clock.Clock
	by time.Duration
}

func (a ahead) Now() time.Time { return a.Clock.Now().Add(a.by) }
