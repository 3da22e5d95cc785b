package client

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"time"
)

// AuditEntry is a change that somebody ordered.
type AuditEntry struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Key     string    `json:"key,omitempty"` // id; "" for what the program did by itself
	Name    string    `json:"name,omitempty"`
	Method  string    `json:"method,omitempty"`
	Request string    `json:"request,omitempty"`
	Remote  string    `json:"remote,omitempty"`
	Action  string    `json:"action"`
	Site    string    `json:"site,omitempty"`
	Object  string    `json:"object,omitempty"`
	Outcome string    `json:"outcome"`
	Detail  string    `json:"detail,omitempty"`
}

// Audit yields the entries of the audit log, the newest first, of a site and of a key unless those are "". An error ends it.
func (c *Client) Audit(ctx context.Context, site, key string) iter.Seq2[AuditEntry, error] {
	return func(yield func(AuditEntry, error) bool) {
		q := url.Values{"limit": {pageSize}}
		if site != "" {
			q.Set("site", site)
		}
		if key != "" {
			q.Set("key", key)
		}
		for {
			var page struct {
				Entries []AuditEntry `json:"entries"`
				Next    string       `json:"next"`
			}
			if err := c.get(ctx, "/audit", q, &page); err != nil {
				yield(AuditEntry{}, fmt.Errorf("audit log: %w", err))
				return
			}
			for _, e := range page.Entries {
				if !yield(e, nil) {
					return
				}
			}
			if page.Next == "" || page.Next == q.Get("cursor") {
				return
			}
			q.Set("cursor", page.Next)
		}
	}
}
