package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"perigee/object"
)

// Site is a site with what it uses.
type Site struct {
	object.SiteRecord
	// Usage is nil if what the site serves is not stored by Perigee: it counts in no quota.
	Usage *Usage `json:"usage"`
}

// Sites returns all sites, sorted by name.
func (c *Client) Sites(ctx context.Context) ([]Site, error) {
	var all []Site
	for q := (url.Values{}); ; {
		var page struct {
			Sites []Site `json:"sites"`
			Next  string `json:"next"`
		}
		if err := c.get(ctx, "/sites", q, &page); err != nil {
			return nil, fmt.Errorf("sites: %w", err)
		}
		all = append(all, page.Sites...)
		if page.Next == "" || page.Next == q.Get("cursor") {
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

// CreateSite makes a site and returns its record. A name or host that is taken is fs.ErrExist.
func (c *Client) CreateSite(ctx context.Context, d object.SiteDeclaration) (object.SiteRecord, error) {
	var rec object.SiteRecord
	if _, err := c.send(ctx, http.MethodPost, "/sites", nil, d, &rec); err != nil {
		return object.SiteRecord{}, fmt.Errorf("create site %s: %w", d.Site, err)
	}
	return rec, nil
}

// UpdateSite replaces a site's hosts, rules and origin. match, unless "", must be the current version of the record, else the error is
// ErrPrecondition.
func (c *Client) UpdateSite(ctx context.Context, d object.SiteDeclaration, match object.Version) (object.SiteRecord, error) {
	var rec object.SiteRecord
	if _, err := c.sendIf(ctx, http.MethodPut, "/sites/"+url.PathEscape(d.Site), match, d, &rec); err != nil {
		return object.SiteRecord{}, fmt.Errorf("change site %s: %w", d.Site, err)
	}
	return rec, nil
}
