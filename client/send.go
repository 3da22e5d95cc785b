package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"perigee/clock"
	"perigee/object"
	"perigee/problem"
)

// get calls GET and decodes the answer.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	_, err := c.send(ctx, http.MethodGet, path, query, nil, out)
	return err
}

// send calls with an optional JSON body, again as Retry says.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in, out any) (status int, err error) {
	return c.sendWith(ctx, method, path, query, nil, in, out)
}

// sendIf is send on the condition that match is the current version; "" makes none.
func (c *Client) sendIf(ctx context.Context, method, path string, match object.Version, in, out any) (status int, err error) {
	h := http.Header{}
	if match != "" {
		h.Set("If-Match", `"`+string(match)+`"`)
	}
	return c.sendWith(ctx, method, path, nil, h, in, out)
}

func (c *Client) sendWith(ctx context.Context, method, path string, query url.Values, h http.Header, in, out any) (status int, err error) {
	var b []byte
	if in != nil {
		if b, err = json.Marshal(in); err != nil {
			return 0, fmt.Errorf("encode request: %w", err)
		}
	}
	once := func(key string) error {
		var body io.Reader
		if in != nil {
			body = bytes.NewReader(b)
		}
		req, err := c.request(ctx, method, path, query, body)
		if err != nil {
			return err
		}
		maps.Copy(req.Header, h)
		if in != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if key != "" {
			req.Header.Set(idempotencyKey, key)
		}
		status, err = c.call(req, out)
		return err
	}
	if asks(method) {
		return status, c.repeat(ctx, func() error { return once("") })
	}
	err = c.change(ctx, once)
	return status, err
}

// idempotencyKey is the field by which the server knows a change that is sent again, and makes it once.
const idempotencyKey = "Idempotency-Key"

// newIdempotencyKey returns a key for one change: 130 random bits.
func newIdempotencyKey() string { return `"` + rand.Text() + `"` }

// change sends a change until it has an answer, or as Retry says: each time with the same key, so that the server makes it once. A change of which
// the server itself does not know whether it was made (the problem "unsettled") is not sent again: the server would make it anew.
func (c *Client) change(ctx context.Context, once func(key string) error) error {
	key := newIdempotencyKey()
	waited := 0
	for try := 1; ; try++ {
		err := once(key)
		switch {
		case err == nil || errors.Is(err, problem.Kind("unsettled")):
			return err
		case errors.Is(err, problem.Kind("in-progress")) && waited < maxInProgress:
			// The server is still at the one before, whose answer was lost. It is no try of its own.
			waited, try = waited+1, try-1
			if clock.Sleep(ctx, c.clock, c.retry.After(1, err)) != nil {
				return err
			}
		case !c.again(ctx, try, err):
			return err
		}
	}
}

// maxInProgress is how often a change asks for the answer of one that the server is still carrying out. It is told to wait for a second each time, and a server
// gives itself 100 s to record a file.
const maxInProgress = 120

// repeat calls once until it succeeds, or as Retry says.
func (c *Client) repeat(ctx context.Context, once func() error) error {
	for try := 1; ; try++ {
		err := once()
		if err == nil || !c.again(ctx, try, err) {
			return err
		}
	}
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Request, error) {
	target := c.base + "/api/v1" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return req, nil
}
