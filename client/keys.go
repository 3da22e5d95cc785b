package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Key is an API key without its secret.
type Key struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Scopes  []string  `json:"scopes"` // read, publish, purge, admin
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero for never
	// LastUsed is to half a minute; zero if it never was.
	LastUsed time.Time `json:"last_used,omitzero"`
	KeyLimits
}

// KeyLimits narrow what a key reaches; the zero KeyLimits is a key of the whole installation.
type KeyLimits struct {
	Sites    []string `json:"sites,omitempty"`
	Prefixes []string `json:"prefixes,omitempty"` // directories of those sites
	MaxFile  int64    `json:"max_file,omitempty"` // bytes
	MaxForm  int      `json:"max_form,omitempty"` // files in one form
	// RequestsPerSecond and BytesPerSecond stand in place of the server's; 0 leaves those.
	RequestsPerSecond float64 `json:"requests_per_second,omitempty"`
	BytesPerSecond    int64   `json:"bytes_per_second,omitempty"`
}

// NewKey is a key to be made.
type NewKey struct {
	Name    string    `json:"name"` // who uses it
	Scopes  []string  `json:"scopes"`
	Expires time.Time `json:"expires,omitzero"` // never when zero
	KeyLimits
}

// Keys returns all API keys.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var all []Key
	for q := (url.Values{}); ; {
		var page struct {
			Keys []Key  `json:"keys"`
			Next string `json:"next"`
		}
		if err := c.get(ctx, "/keys", q, &page); err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		all = append(all, page.Keys...)
		if page.Next == "" || page.Next == q.Get("cursor") {
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

// ErrSecretLost says that an API key was made, and the answer with its secret was lost on the way: nobody can read it again.
var ErrSecretLost = errors.New("the key was made, but its secret was lost with the answer: revoke it and make another")

// CreateKey makes an API key. secret is the key itself, which nobody can read again. With ErrSecretLost made is the key that is to be revoked.
func (c *Client) CreateKey(ctx context.Context, k NewKey) (made Key, secret string, err error) {
	var answer struct {
		Key
		Secret string `json:"key"`
	}
	if _, err := c.send(ctx, http.MethodPost, "/keys", nil, k, &answer); err != nil {
		return Key{}, "", fmt.Errorf("create key %q: %w", k.Name, err)
	}
	if answer.Secret == "" {
		return answer.Key, "", fmt.Errorf("create key %q, id %s: %w", k.Name, answer.ID, ErrSecretLost)
	}
	return answer.Key, answer.Secret, nil
}

// RevokeKey ends an API key at once. An unknown one is fs.ErrNotExist.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	if _, err := c.send(ctx, http.MethodDelete, "/keys/"+url.PathEscape(id), nil, nil, nil); err != nil {
		return fmt.Errorf("revoke key %s: %w", id, err)
	}
	return nil
}
