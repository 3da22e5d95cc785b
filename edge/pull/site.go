package pull

import (
	"net/http"
	"net/url"
	"time"

	"perigee/edge/rules"
	"perigee/object"
)

// Site is one origin and how it is cached. It is not changed once it is in use.
type Site struct {
	Name   object.Site // for purges; may be ""
	Origin *url.URL    // scheme, host, and a path that is put before every target; no query
	// ClientHost sends the client's Host to the origin instead of the origin's own.
	ClientHost bool
	// Transport reaches the origin. It must not follow redirects, decompress, or add fields.
	Transport http.RoundTripper
	// StaleUnreachable is for how long after its lifetime a response may be served if the origin cannot be reached, and nothing forbids it (RFC 9111 §4.2.4).
	StaleUnreachable time.Duration
	// MaxObject is the size of the largest body that is kept, in bytes; 0 for no limit.
	MaxObject int64
	// Rules are the site's, compiled; nil for none.
	Rules *rules.Set
	// BothSchemes declares that http and https name the same resources.
	BothSchemes bool
}

// DefaultStaleUnreachable is how long a response may outlive its lifetime while its origin is away.
const DefaultStaleUnreachable = time.Hour
