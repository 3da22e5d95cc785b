package config

import (
	"fmt"
	"net/url"
	"strings"
)

// Store is a bucket beside Perigee's own, for bucket sites.
type Store struct {
	Name          string `yaml:"name"`
	Endpoint      string `yaml:"endpoint"`
	Region        string `yaml:"region"`
	Bucket        string `yaml:"bucket"`
	AccessKey     string `yaml:"access_key"`
	SecretKey     Secret `yaml:"secret_key"`
	EdgeAccessKey string `yaml:"edge_access_key"`
	EdgeSecretKey Secret `yaml:"edge_secret_key"`
	PathStyle     bool   `yaml:"path_style"`
}

// stores checks the buckets of bucket sites.
func (v validator) stores() {
	seen := map[string]bool{}
	for i, s := range v.c.Stores {
		key := fmt.Sprintf("stores[%d]", i)
		if s.Name != "" {
			key = "stores." + s.Name
		}
		v.label(key+".name", s.Name)
		if seen[s.Name] {
			v.bad(key+".name", "there are two stores of this name")
		}
		seen[s.Name] = true
		if s.Endpoint != "" {
			v.url(key+".endpoint", s.Endpoint, "http", "https")
		} else if s.Region == "" {
			v.bad(key+".region", "AWS needs one, such as eu-central-1; or give the endpoint of another S3")
		}
		if s.Bucket == "" {
			v.bad(key+".bucket", "name the bucket")
		}
		if (s.AccessKey == "") != s.SecretKey.IsZero() || (s.EdgeAccessKey == "") != s.EdgeSecretKey.IsZero() {
			v.bad(key+".access_key", "give both the access key and the secret key, or neither")
		}
		if s.Bucket == v.c.Storage.Bucket && sameEndpoint(s.Endpoint, v.c.Storage.Endpoint) {
			v.bad(key+".bucket", "this is Perigee's own bucket, which sites use with a prefix and without a store")
		}
	}
	if t := v.c.API.EventsSecret.Reveal(); t != "" && len(t) < minToken {
		v.bad("api.events_secret", "a secret has at least %d characters", minToken)
	}
	if u := v.c.Storage.Embedded.Events; u != "" {
		v.url("storage.embedded.events", u, "http", "https")
	}
}

// sameEndpoint reports whether two addresses are written for the same server.
func sameEndpoint(a, b string) bool {
	u, err := url.Parse(a)
	w, werr := url.Parse(b)
	if err != nil || werr != nil {
		return false
	}
	same := strings.EqualFold(u.Hostname(), w.Hostname()) || sameMachine(u.Hostname()) && sameMachine(w.Hostname())
	return same && port(u) == port(w)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
