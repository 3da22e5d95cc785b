package main

import (
	"fmt"
	"net/url"
	"strings"

	"perigee/client"
	"perigee/object"
)

// defaultSite is what a target without a site means.
const defaultSite = "www"

// target is a place on a site as the command line names it: "SITE:/path", or "/path" of the default site.
type target struct {
	site object.Site
	path string // decoded, begins with '/'; ends with '/' if it was written so
}

func (t target) String() string { return string(t.site) + ":" + t.path }

// file returns the path as that of a file.
func (t target) file() (object.Path, error) { return object.ParsePath(t.path) }

// dir returns the path as that of a directory.
func (t target) dir() (object.Prefix, error) { return object.ParsePrefix(t.path) }

func parseTarget(s string) (target, error) {
	site, path, ok := strings.Cut(s, ":")
	if strings.HasPrefix(s, "/") {
		site, path = defaultSite, s
	} else if !ok || strings.HasPrefix(path, "//") {
		return target{}, fmt.Errorf("%q: name a place on a site as SITE:/path, such as %s:/docs/a.txt", s, defaultSite)
	}
	parsed, err := object.ParseSite(site)
	if err != nil {
		return target{}, err
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return target{parsed, path}, nil
}

// isURL reports whether an argument is a whole URL and not a target.
func isURL(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }

// siteOfURL returns the site that answers to a URL's host, among all.
func siteOfURL(all []client.Site, raw string) (object.Site, *url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", nil, fmt.Errorf("%q is no URL", raw)
	}
	host, err := object.ParseHost(u.Host)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", raw, err)
	}
	for _, s := range all {
		for _, h := range s.Hosts {
			if h == host {
				return s.Site, u, nil
			}
		}
	}
	return "", nil, fmt.Errorf("%s: no site answers to the host %s", raw, host)
}

// resolveFile turns a URL or a target into a site and a file.
func resolveFile(a *app, c *client.Client, arg string) (object.Site, object.Path, error) {
	if !isURL(arg) {
		t, err := parseTarget(arg)
		if err != nil {
			return "", "", err
		}
		if strings.HasSuffix(t.path, "/") {
			t.path += object.IndexDocument // as an edge would read it
		}
		p, err := t.file()
		return t.site, p, err
	}
	all, err := c.Sites(a.ctx)
	if err != nil {
		return "", "", err
	}
	site, u, err := siteOfURL(all, arg)
	if err != nil {
		return "", "", err
	}
	p, err := object.ParseRequestPath(u.EscapedPath())
	return site, p, err
}
