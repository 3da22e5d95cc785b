package keys

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"perigee/object"
)

// as is the context of a request that id sends.
func as(t *testing.T, id Identity) context.Context { return NewContext(t.Context(), id) }

func TestLimitsReach(t *testing.T) {
	all := Limits{}
	site := Limits{Sites: []object.Site{"www", "img"}}
	dirs := Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/a/", "/b/c/"}}
	for _, c := range []struct {
		limits *Limits
		site   object.Site
		path   string
		want   bool
	}{
		{&all, "any", "", true}, {&all, "any", "/x", true},
		{&site, "www", "", true}, {&site, "www", "/x", true}, {&site, "img", "/", true}, {&site, "other", "/x", false}, {&site, "", "", false},
		{&dirs, "www", "", false}, {&dirs, "www", "/", false}, {&dirs, "www", "/a/x", true}, {&dirs, "www", "/a/", true}, {&dirs, "www", "/a", false},
		{&dirs, "www", "/ab", false}, {&dirs, "www", "/b/", false}, {&dirs, "www", "/b/c/d/e", true}, {&dirs, "img", "/a/x", false}, {&dirs, "www", "a/x", false},
	} {
		if got := c.limits.Under(c.site, c.path); got != c.want {
			t.Errorf("%q reaches %q of %s: %v", c.limits.String(), c.path, c.site, got)
		}
	}
}

func TestNarrow(t *testing.T) {
	one := Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/a/b/"}}
	two := Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/a/", "/b/"}}
	all := Limits{}
	for _, c := range []struct {
		limits *Limits
		site   object.Site
		prefix string
		want   string
		ok     bool
	}{
		{&all, "x", "", "", true}, {&all, "x", "/q", "/q", true},
		{&one, "www", "", "/a/b/", true}, {&one, "www", "/a", "/a/b/", true}, {&one, "www", "/a/b/", "/a/b/", true}, {&one, "www", "/a/b/c", "/a/b/c", true},
		{&one, "www", "/a/x", "", false}, {&one, "img", "", "", false},
		{&two, "www", "", "", false}, {&two, "www", "/b", "/b/", true}, {&two, "www", "/c", "", false},
	} {
		if got, ok := c.limits.Narrow(c.site, c.prefix); got != c.want || ok != c.ok {
			t.Errorf("%q narrows %q of %s to %q, %v", c.limits.String(), c.prefix, c.site, got, ok)
		}
	}
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	for _, l := range []Limits{
		{Prefixes: []object.Prefix{"/a/"}}, {Sites: []object.Site{"Not A Site"}}, {Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"a"}},
		{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/a/../b/"}}, {Sites: make([]object.Site, MaxSites+1)}, {MaxFile: -1}, {RequestsPerSecond: -1},
	} {
		if err := l.Validate(); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if err := (&Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/", "/a/ü/"}, MaxFile: 1, MaxForm: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestChecks(t *testing.T) {
	limited := as(t, Identity{ID: "k", Scopes: []Scope{ScopePublish}, Limits: Limits{Sites: []object.Site{"www"}, Prefixes: []object.Prefix{"/a/"}}})
	admin := as(t, Identity{ID: "k", Scopes: []Scope{ScopeAdmin}, Limits: Limits{Sites: []object.Site{"www"}}})
	for _, c := range []struct {
		name   string
		err    error
		status int // 0 is allowed
	}{
		{"a stranger", CheckUnder(t.Context(), ScopeRead, "www", "/a/x"), http.StatusUnauthorized},
		{"a stranger, whole", CheckWhole(t.Context(), ScopeRead), http.StatusUnauthorized},
		{"below", CheckUnder(limited, ScopePublish, "www", "/a/x"), 0},
		{"beside", CheckUnder(limited, ScopePublish, "www", "/b"), http.StatusForbidden},
		{"without the scope", CheckUnder(limited, ScopePurge, "www", "/a/x"), http.StatusForbidden},
		{"the whole site", CheckSite(limited, ScopePublish, "www"), http.StatusForbidden},
		{"the installation", CheckWhole(limited, ScopeRead), http.StatusForbidden},
		{"an admin's site", CheckSite(admin, ScopeAdmin, "www"), 0},
		{"another site", CheckSite(admin, ScopeAdmin, "img"), http.StatusForbidden},
		{"an admin of a site and all", CheckWhole(admin, ScopeAdmin), http.StatusForbidden},
	} {
		var d *Denied
		if got := errors.As(c.err, &d); got != (c.status != 0) || got && (d.Status != c.status || d.Detail == "") {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	if Seen(t.Context(), "www", "/a/x") || !Seen(limited, "www", "/a/x") || Seen(limited, "www", "") || Seen(limited, "img", "/a/x") {
		t.Error("what is seen is not what is reached")
	}
}
