package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"perigee/clock"
)

// MinSecret is the shortest secret key in bytes that is accepted.
const MinSecret = 16

// Config says what to serve and to whom.
type Config struct {
	// Root is the data directory; it is created if it is missing.
	Root string
	// Listen is host:port. Port 0 takes a free one.
	Listen string
	// Bucket is created if it is missing.
	Bucket string
	// RootAccess and RootSecret are the account that may do everything.
	RootAccess, RootSecret string
	// EdgeAccess and EdgeSecret are the account that may only read Bucket; both empty for none.
	EdgeAccess, EdgeSecret string
	// Notify is called after an object was written or deleted, by whomever, unless it is one of Perigee's own; may be nil. It must not block. RunChild sets it
	// to tell the parent.
	Notify func(Event)
	// Log defaults to slog.Default().
	Log *slog.Logger
	// Clock defaults to clock.System.
	Clock clock.Clock
}

// String leaves the secrets out.
func (c Config) String() string {
	return fmt.Sprintf("bucket %s in %s on %s for %q and %q", c.Bucket, c.Root, c.Listen, c.RootAccess, c.EdgeAccess)
}

// GoString is String, so that no verb of package fmt prints the secrets.
func (c Config) GoString() string { return c.String() }

// LogValue is String: a Config may be logged.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// completed returns c with its defaults filled in and Root absolute, or says what is wrong.
func (c Config) completed() (Config, error) {
	if c.Root == "" {
		return c, errors.New("storage directory: none is given")
	}
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return c, fmt.Errorf("storage directory %s: %w", c.Root, err)
	}
	c.Root = root
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return c, fmt.Errorf("storage address %q: write host:port: %w", c.Listen, err)
	}
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		return c, fmt.Errorf("bucket name %q: %w", c.Bucket, err)
	}
	if err := checkAccount("root", c.RootAccess, c.RootSecret); err != nil {
		return c, err
	}
	if c.EdgeAccess != "" || c.EdgeSecret != "" {
		if err := checkAccount("edge", c.EdgeAccess, c.EdgeSecret); err != nil {
			return c, err
		}
		if c.EdgeAccess == c.RootAccess {
			return c, errors.New("storage accounts: root and edge have the same access key; the edges must not have the root account")
		}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	return c, nil
}

func checkAccount(which, access, secret string) error {
	if n := len(access); n < 3 || n > 128 {
		return fmt.Errorf("storage account %s: the access key must have 3 to 128 characters", which)
	}
	for _, r := range access { // it becomes part of a signature's scope, which is cut at '/', ',' and '='
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
		if !ok {
			return fmt.Errorf("storage account %s: the access key may have letters, digits, '-', '_' and '.' only", which)
		}
	}
	if len(secret) < MinSecret {
		return fmt.Errorf("storage account %s: the secret key must have at least %d characters", which, MinSecret)
	}
	return nil
}
