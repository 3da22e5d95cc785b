package origin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/clock"
	"perigee/origin"
	"perigee/origin/origintest"
)

// keyPair are keys as AWS's services hand them out.
type keyPair struct {
	id, secret string
	token      string // of temporary keys; empty for keys that the store knows for good
	life       time.Duration
}

// awsServices speaks as the instance metadata service (IMDSv2) and the security token service do, on one address: the two that give
// keys on AWS and cannot be had elsewhere. Each asking gets the next keys; the last ones stay.
type awsServices struct {
	url string

	mu     sync.Mutex
	keys   []keyPair
	asked  int
	tokens []string // the web identities that were shown
}

func serveAWS(t *testing.T, keys ...keyPair) *awsServices {
	s := &awsServices{keys: keys}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
		fmt.Fprint(w, "session")
	})
	const role = "/latest/meta-data/iam/security-credentials/"
	metadata := func(f http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session" {
				http.Error(w, "no token", http.StatusUnauthorized)
				return
			}
			f(w, r)
		}
	}
	mux.HandleFunc("GET "+role+"{$}", metadata(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "perigee") }))
	mux.HandleFunc("GET "+role+"perigee", metadata(func(w http.ResponseWriter, _ *http.Request) {
		k := s.next()
		err := json.NewEncoder(w).Encode(map[string]string{
			"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": k.id, "SecretAccessKey": k.secret, "Token": k.token,
			"LastUpdated": stamp(0), "Expiration": stamp(k.life),
		})
		if err != nil {
			t.Error(err)
		}
	}))
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("RoleArn") != "arn:aws:iam::123456789012:role/perigee" {
			http.Error(w, "not this", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.tokens = append(s.tokens, r.FormValue("WebIdentityToken"))
		s.mu.Unlock()
		k := s.next()
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
			<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>
			</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, k.id, k.secret, k.token, stamp(k.life))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func stamp(in time.Duration) string { return clock.System.Now().Add(in).UTC().Format(time.RFC3339) }

func (s *awsServices) next() keyPair {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.keys[min(s.asked, len(s.keys))-1]
}

func (s *awsServices) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// bareEnvironment hides what the machine of the test has for AWS.
func bareEnvironment(t *testing.T) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name) // Setenv puts it back after the test
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// seenKeys notes with which keys requests were signed, and with which session tokens.
type seenKeys struct {
	mu  sync.Mutex
	all []string
}

func (s *seenKeys) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		id, _, _ := strings.Cut(rest, "/")
		s.mu.Lock()
		s.all = append(s.all, strings.TrimSpace(id+" "+r.Header.Get("X-Amz-Security-Token")))
		s.mu.Unlock()
		return next.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (s *seenKeys) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return ""
	}
	return s.all[len(s.all)-1]
}

// TestCredentialChain has both halves find their keys wherever AWS's SDKs look, and use them on a real S3.
func TestCredentialChain(t *testing.T) {
	s := origintest.Start(t)
	root := keyPair{id: s.Config().AccessKey, secret: s.Config().SecretKey, life: time.Hour}
	for _, c := range []struct {
		name  string
		setUp func(*testing.T)
	}{
		{"environment", func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", root.id)
			t.Setenv("AWS_SECRET_ACCESS_KEY", root.secret)
		}},
		{"profile", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "credentials")
			text := fmt.Sprintf("[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n[cdn]\naws_access_key_id = %s\naws_secret_access_key = %s\n", root.id, root.secret)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			t.Setenv("AWS_PROFILE", "cdn")
		}},
		{"web identity", func(t *testing.T) { webIdentity(t, serveAWS(t, root)) }},
		{"instance", func(t *testing.T) { instance(t, serveAWS(t, root)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bareEnvironment(t)
			c.setUp(t)
			seen := &seenKeys{}
			cfg := s.Config()
			cfg.AccessKey, cfg.SecretKey, cfg.Wrap = "", "", seen.wrap
			w, err := origin.NewWriter(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.Put(t.Context(), "b/chain", []byte("x"), origin.PutOptions{}); err != nil || seen.last() != root.id {
				t.Fatalf("put as %q: %v", seen.last(), err)
			}
			r, err := origin.NewReader(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := r.Head(t.Context(), "b/chain"); err != nil || seen.last() != root.id {
				t.Fatalf("head as %q: %v", seen.last(), err)
			}
		})
	}
}

func instance(t *testing.T, s *awsServices) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.url)
}

// webIdentity is what Kubernetes gives a pod whose service account has a role (IRSA). It returns the file of the token.
func webIdentity(t *testing.T, s *awsServices) (file string) {
	file = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/perigee")
	t.Setenv("AWS_ENDPOINT_URL_STS", s.url)
	return file
}

// TestKeysAreRenewed: keys that are about to expire are asked for again, and the next request is signed with the new ones; keys that
// are not are kept. The first keys may only read, so that the store itself tells which ones were used.
func TestKeysAreRenewed(t *testing.T) {
	s := origintest.Start(t)
	root, edge := s.Config(), s.EdgeConfig()
	dying := keyPair{id: edge.AccessKey, secret: edge.SecretKey, life: 2 * time.Second}
	fresh := keyPair{id: root.AccessKey, secret: root.SecretKey, life: time.Hour}
	t.Run("writer", func(t *testing.T) {
		bareEnvironment(t)
		services := serveAWS(t, dying, fresh)
		instance(t, services)
		cfg := root
		cfg.AccessKey, cfg.SecretKey = "", ""
		w, err := origin.NewWriter(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		origintest.Eventually(t, "keys that may not write are followed by others", func() bool {
			_, err := w.Put(t.Context(), "b/x", nil, origin.PutOptions{})
			if err != nil && !errors.Is(err, origin.ErrDenied) {
				t.Fatal(err)
			}
			return err == nil
		})
		for range 5 {
			if _, err := w.Put(t.Context(), "b/x", nil, origin.PutOptions{}); err != nil {
				t.Fatalf("with the keys that follow them: %v", err)
			}
		}
		if n := services.count(); n != 2 {
			t.Fatalf("keys were asked for %d times", n)
		}
	})
	t.Run("reader", func(t *testing.T) {
		bareEnvironment(t)
		wrong := dying
		wrong.secret = "wrong"
		services := serveAWS(t, wrong, fresh)
		instance(t, services)
		cfg := root
		cfg.AccessKey, cfg.SecretKey = "", ""
		r, err := origin.NewReader(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		origintest.Eventually(t, "wrong keys are followed by others", func() bool {
			err := r.Check(t.Context())
			if err != nil && !errors.Is(err, origin.ErrDenied) {
				t.Fatal(err)
			}
			return err == nil
		})
		for range 5 {
			if err := r.Check(t.Context()); err != nil {
				t.Fatalf("with the keys that follow them: %v", err)
			}
		}
		if n := services.count(); n != 2 {
			t.Fatalf("keys were asked for %d times", n)
		}
	})
	t.Run("web identity", func(t *testing.T) {
		bareEnvironment(t)
		expired := fresh
		expired.life = 2 * time.Second
		services := serveAWS(t, expired, fresh)
		file := webIdentity(t, services)
		cfg := root
		cfg.AccessKey, cfg.SecretKey = "", ""
		w, err := origin.NewWriter(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		put := func() {
			if _, err := w.Put(t.Context(), "b/x", nil, origin.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		put()
		if err := os.WriteFile(file, []byte("second"), 0o600); err != nil { // Kubernetes replaces it
			t.Fatal(err)
		}
		origintest.Eventually(t, "expired keys are asked for again", func() bool { put(); return services.count() == 2 })
		services.mu.Lock()
		defer services.mu.Unlock()
		if got := strings.Join(services.tokens, " "); got != "first second" {
			t.Fatalf("the tokens shown are %q", got)
		}
	})
}

// TestNoKeys: without any, both halves say so, and soon; they do not read as somebody without a name.
func TestNoKeys(t *testing.T) {
	bareEnvironment(t)
	cfg := origin.Config{Endpoint: "http://127.0.0.1:9", Bucket: "bucket", MaxRetries: -1}
	r, err := origin.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := origin.NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, rerr := r.Head(t.Context(), "b/x")
	_, werr := w.Put(t.Context(), "b/x", nil, origin.PutOptions{})
	for _, err := range []error{rerr, werr} {
		if err == nil || !strings.Contains(err.Error(), "credentials") || strings.Contains(err.Error(), "refused") {
			t.Errorf("without keys: %v", err)
		}
	}
}
