package origin

import (
	"context"
	"net"
	"net/http"
	"time"

	"perigee/clock"
	"perigee/origin/silence"
)

const (
	connectTimeout = 5 * time.Second
	// poolSize is how many idle connections are kept; an edge under load has that many fills at once.
	poolSize = 256
	// patience is how many times longer than usual a store may think about completing a multipart upload: it may have
	// to copy terabytes before it answers, and says nothing while it does.
	patience = 20
)

// newTransport returns a connection pool whose connections break when the other side is silent for longer than
// limit. It sets no ResponseHeaderTimeout: the limit on silence covers waiting for headers too.
func newTransport(limit time.Duration, c clock.Clock) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return silence.Limit(conn, limit, c), nil
		},
		TLSHandshakeTimeout:   connectTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          poolSize,
		MaxIdleConnsPerHost:   poolSize,
		IdleConnTimeout:       limit * 3 / 4, // retire an idle connection before its pending read times out
		DisableCompression:    true,          // an object is its bytes: a transparently unpacked one has another length
	}
}
