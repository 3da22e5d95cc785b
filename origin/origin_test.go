package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"perigee/object"
)

func testConfig(endpoint string) Config {
	return Config{
		Endpoint: endpoint, Bucket: "bucket", AccessKey: "access", SecretKey: "the-secret-key", PathStyle: true,
		MaxRetries: -1, Log: slog.New(slog.DiscardHandler),
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Endpoint = "127.0.0.1:9000" }, "bucket endpoint"},
		{func(c *Config) { c.Endpoint = "ftp://h:1" }, "write http://host:port"},
		{func(c *Config) { c.Endpoint = "http://h:1/path" }, "write http://host:port"},
		{func(c *Config) { c.Endpoint = "http://h:1/?q" }, "write http://host:port"},
		{func(c *Config) { c.Endpoint = "http://user:pass@h:1" }, "write http://host:port"},
		{func(c *Config) { c.Endpoint = "" }, "AWS needs one"},
		{func(c *Config) { c.Bucket = "" }, "bucket name"},
		{func(c *Config) { c.Bucket = "Upper" }, "bucket name"},
		{func(c *Config) { c.SecretKey = "" }, "both the access key and the secret key"},
		{func(c *Config) { c.Checksums = "sometimes" }, `"supported" or "required"`},
	} {
		bad := testConfig("http://127.0.0.1:9000")
		c.change(&bad)
		_, rerr := NewReader(bad)
		_, werr := NewWriter(t.Context(), bad)
		for _, err := range []error{rerr, werr} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "pass@") {
				t.Errorf("error %v has the password", err)
			}
		}
	}
}

func TestConfigHidesTheSecret(t *testing.T) {
	cfg := testConfig("http://127.0.0.1:9000")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "cfg", cfg)
	for _, s := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), log.String()} {
		if strings.Contains(s, cfg.SecretKey) || !strings.Contains(s, cfg.Bucket) {
			t.Errorf("printed as %s", s)
		}
	}
}

func TestAWSNeedsNoEndpoint(t *testing.T) {
	cfg := Config{Region: "eu-central-1", Bucket: "bucket"}
	r, err := NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := r.core.EndpointURL().String(); got != "https://s3.eu-central-1.amazonaws.com" {
		t.Fatalf("the endpoint is %s", got)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "from-the-environment")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	w, err := NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	creds, err := w.client.Options().Credentials.Retrieve(t.Context())
	if err != nil || creds.AccessKeyID != "from-the-environment" {
		t.Fatalf("credentials %v, %v", creds.AccessKeyID, err)
	}
	keys, err := readerKeys(cfg)
	if err != nil {
		t.Fatal(err)
	}
	value, err := keys.GetWithContext(nil)
	if err != nil || value.AccessKeyID != "from-the-environment" {
		t.Fatalf("credentials %v, %v", value.AccessKeyID, err)
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error
	}{
		{304, "304 Not Modified", ErrNotModified},
		{404, "NoSuchKey", fs.ErrNotExist},
		{404, "NotFound", fs.ErrNotExist},
		{404, "NoSuchUpload", fs.ErrNotExist},
		{404, "NoSuchBucket", ErrUnavailable},
		{404, "", fs.ErrNotExist},
		{401, "", ErrDenied},
		{403, "AccessDenied", ErrDenied},
		{403, "SignatureDoesNotMatch", ErrDenied},
		{403, "QuotaExceeded", ErrFull},
		{412, "PreconditionFailed", ErrPrecondition},
		{412, "", ErrPrecondition},
		{416, "InvalidRange", ErrRange},
		{507, "InsufficientStorage", ErrFull},
		{507, "XMinioStorageFull", ErrFull},
		{409, conflict, ErrUnavailable},
		{429, "", ErrUnavailable},
		{500, "InternalError", ErrUnavailable},
		{503, "SlowDown", ErrUnavailable},
		{400, "InvalidPart", ErrParts},
		{400, "EntityTooSmall", ErrParts},
		{400, "InvalidArgument", nil},
	} {
		if f := classify(c.status, c.code, "m"); f.kind != c.want {
			t.Errorf("%d %s is %v, want %v", c.status, c.code, f.kind, c.want)
		}
	}
}

// serving returns halves whose store is h.
func serving(t *testing.T, silence time.Duration, h http.HandlerFunc) (*Reader, *Writer) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	cfg := testConfig(srv.URL)
	cfg.Silence = silence
	r, err := NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	w, err := NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return r, w
}

// describeObject sets the header of an object of n bytes.
func describeObject(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(n))
	w.Header().Set("ETag", `"e"`)
	w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
}

func TestSilentStoreIsATimeout(t *testing.T) {
	release := make(chan struct{})
	r, w := serving(t, 50*time.Millisecond, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	_, _, err := r.Get(t.Context(), "b/x", GetOptions{})
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if _, err := w.Put(t.Context(), "b/x", []byte("x"), PutOptions{}); !errors.Is(err, ErrTimeout) {
		t.Errorf("put: %v", err)
	}
	if _, err := w.Put(t.Context(), "b/x", []byte("x"), PutOptions{IfNoneMatch: true}); !errors.Is(err, ErrUnknown) {
		t.Errorf("conditional put: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = r.Get(ctx, "b/x", GetOptions{})
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("cancelled get: %v", err)
	}
}

func TestSilentBodyIsATimeout(t *testing.T) {
	release := make(chan struct{})
	r, _ := serving(t, time.Second, func(w http.ResponseWriter, _ *http.Request) {
		describeObject(w, 100)
		io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	body, _, err := r.Get(t.Context(), "b/x", GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); !errors.Is(err, ErrTimeout) || string(got) != "some" {
		t.Fatalf("read %q, %v", got, err)
	}
}

func TestStoreThatIgnoresRanges(t *testing.T) {
	r, _ := serving(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		describeObject(w, 10)
		io.WriteString(w, "0123456789")
	})
	if _, _, err := r.Get(t.Context(), "b/x", GetOptions{Offset: 5}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("the wrong bytes were passed on: %v", err)
	}
}

func TestBodyOfUnknownLength(t *testing.T) {
	r, _ := serving(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		describeObject(w, 4)
		w.Header().Del("Content-Length")
		io.WriteString(w, "some")
		w.(http.Flusher).Flush()
	})
	if _, _, err := r.Get(t.Context(), "b/x", GetOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("a body that cannot be checked was passed on: %v", err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	followed := false
	_, w := serving(t, 0, func(w http.ResponseWriter, r *http.Request) {
		followed = followed || r.URL.Path == "/elsewhere"
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if err := w.Delete(t.Context(), "b/x"); err == nil || followed {
		t.Fatalf("a redirect ended with %v", err)
	}
}

// TestConflictIsRepeated: a 409 says that nothing was done, so that the next attempt decides.
func TestConflictIsRepeated(t *testing.T) {
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls < 3 {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", conflict)
			return
		}
		w.Header().Set("ETag", `"e"`)
	}))
	defer srv.Close()
	cfg := testConfig(srv.URL)
	cfg.MaxRetries = 0 // the default
	w, err := NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if etag, err := w.Put(t.Context(), "p/x", []byte("x"), PutOptions{IfNoneMatch: true}); err != nil || etag != "e" || calls != 3 {
		t.Fatalf("after %d calls: %s, %v", calls, etag, err)
	}
}

func TestGetRefusesNonsense(t *testing.T) {
	r, _ := serving(t, 0, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for _, o := range []GetOptions{{Offset: -1}, {Offset: 1 << 61, Length: 1<<63 - 1}} {
		if _, _, err := r.Get(t.Context(), "b/x", o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestUnsent(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	read := &net.OpError{Op: "read", Err: errors.New("reset")}
	if !unsent(fmt.Errorf("x: %w", dial)) || unsent(fmt.Errorf("x: %w", read)) || unsent(errors.New("x")) {
		t.Fatal("unsent is wrong")
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 0-0/1")
	f.Add("bytes 5-9/10")
	f.Add("bytes 5-9/*")
	f.Add("bytes */10")
	f.Add("bytes 9-5/10")
	f.Add("bytes +1-2/3")
	f.Add("bytes 0-9223372036854775807/9223372036854775807")
	f.Fuzz(func(t *testing.T, s string) {
		first, last, size, ok := parseContentRange(s)
		if !ok {
			return
		}
		if first < 0 || first > last || last >= size {
			t.Fatalf("%q: %d-%d/%d", s, first, last, size)
		}
		again := object.Range{Start: first, Length: last - first + 1}.ContentRange(size)
		if a, b, c, ok := parseContentRange(again); !ok || a != first || b != last || c != size {
			t.Fatalf("%q is not %q", s, again)
		}
	})
}
