package origin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"perigee/clock"
)

// ChecksumPolicy says when request checksums beyond the signature are sent.
type ChecksumPolicy string

// The values of ChecksumPolicy.
const (
	// ChecksumsSupported sends them with every request that can carry them; the default.
	ChecksumsSupported ChecksumPolicy = "supported"
	// ChecksumsRequired sends them only where S3 demands them, for stores that refuse the newer headers.
	ChecksumsRequired ChecksumPolicy = "required"
)

// Config says which bucket, and how to speak to it. Changing it is all that is needed to move from one S3 to another.
type Config struct {
	// Endpoint is http(s)://host:port without a path. Empty means AWS, by Region.
	Endpoint string
	// Region defaults to us-east-1 with an Endpoint; AWS needs it.
	Region string
	// Bucket is the bucket's name.
	Bucket string
	// AccessKey and SecretKey are used as they are. When both are empty, both halves ask AWS's default chain: environment,
	// shared files (profiles, SSO, processes), web identity, container, instance. What expires is renewed in time.
	AccessKey, SecretKey string
	// PathStyle puts the bucket in the path, not in the host name. Stores without wildcard DNS need it.
	PathStyle bool
	// Checksums defaults to ChecksumsSupported.
	Checksums ChecksumPolicy
	// MaxRetries is how often a failed request is repeated: 0 means 2, negative never. Writes that the store puts off because it has
	// too much to do (503 SlowDown, 429) are repeated at least 7 times, with pauses that grow to 5 s.
	MaxRetries int
	// Silence is the longest time the store may say nothing while something is awaited from it; default 30 s.
	// Completing a multipart upload, where the store may copy every part first, has 20 times that.
	Silence time.Duration
	// Wrap, if set, is put around each connection pool, to watch or to disturb what goes over the wire.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Log takes the SDKs' remarks at level debug; default slog.Default().
	Log *slog.Logger
	// Clock defaults to clock.System.
	Clock clock.Clock
}

// String leaves the secret out.
func (c Config) String() string {
	where := c.Endpoint
	if where == "" {
		where = "AWS " + c.Region
	}
	return fmt.Sprintf("bucket %s at %s as %q", c.Bucket, where, c.AccessKey)
}

// GoString is String, so that no verb of package fmt prints the secret.
func (c Config) GoString() string { return c.String() }

// LogValue is String: a Config may be logged.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// completed returns c with its defaults filled in, or says what is wrong.
func (c Config) completed() (Config, error) {
	if err := c.checkEndpoint(); err != nil {
		return c, err
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		return c, fmt.Errorf("bucket name %q: %w", c.Bucket, err)
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return c, errors.New("bucket credentials: give both the access key and the secret key, or neither")
	}
	switch c.Checksums {
	case "":
		c.Checksums = ChecksumsSupported
	case ChecksumsSupported, ChecksumsRequired:
	default:
		return c, fmt.Errorf("bucket checksums %q: write %q or %q", c.Checksums, ChecksumsSupported, ChecksumsRequired)
	}
	switch {
	case c.MaxRetries == 0:
		c.MaxRetries = 2
	case c.MaxRetries < 0:
		c.MaxRetries = 0
	}
	if c.Silence <= 0 {
		c.Silence = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Wrap == nil {
		c.Wrap = func(t http.RoundTripper) http.RoundTripper { return t }
	}
	return c, nil
}

func (c Config) checkEndpoint() error {
	if c.Endpoint == "" {
		if c.Region == "" {
			return errors.New("bucket region: AWS needs one, such as eu-central-1; or give the endpoint of another S3")
		}
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return fmt.Errorf("bucket endpoint: %w", err)
	}
	bare := u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !bare {
		return fmt.Errorf("bucket endpoint %q: write http://host:port or https://host:port and nothing more", u.Redacted())
	}
	return nil
}

// onLoopback reports whether the store is reached without leaving this machine. Then bodies are not hashed for the signature, as they are not over TLS either: that
// hash, on both sides a fifth of what storing a byte costs, shows what somebody on the way has changed, and nobody is on the way. The CRC finds damage.
func (c Config) onLoopback() bool {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.Unmap().IsLoopback()
}

// attempts is how often a request is tried in all.
func (c Config) attempts() int { return c.MaxRetries + 1 }

// busyAttempts is how often one is tried in all that the store refuses because it has too much to do.
func (c Config) busyAttempts() int {
	if c.MaxRetries == 0 {
		return 1
	}
	return max(c.attempts(), 8)
}
