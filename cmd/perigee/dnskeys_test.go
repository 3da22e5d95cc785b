package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perigee/dnsgeo/sign"
)

func TestDNSKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	keys := func(args ...string) result {
		return perigee(t, nil, append([]string{"dns", "keys", "--data", dir}, args...)...)
	}
	if r := keys("list").want(t, 1); !strings.Contains(r.errOut, "keys generate makes the first one") {
		t.Error(r.errOut)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("listing made the data directory")
	}
	keys("roll").want(t, 1)
	r := keys("generate", "--json").want(t, 0)
	made := jsonLines[dnsKeysView](t, r.out)[0]
	if len(made.Keys) != 1 || made.Keys[0].State != sign.Active || made.Zone != "perigee.test." || !strings.Contains(r.errOut, "not before") {
		t.Errorf("%+v\n%s", made, r.errOut)
	}
	file := filepath.Join(dir, "dns", "dnssec", "perigee.test.keys.json")
	if i, err := os.Stat(file); err != nil || i.Mode().Perm() != 0o600 {
		t.Error(i, err)
	}
	for _, x := range []struct {
		args string
		want string
	}{
		{"generate", "has keys already"}, {"ds", "unsigned answers"}, {"roll", "begin the rollover after that"}, {"roll --ds-seen", "begin one with roll"},
		{"retire 1", "list shows the keys"}, {"withdraw --ds-gone", "begin with withdraw"}, {"list --zone other.test", "there are no keys"},
		{"list --zone a/b", "name of a signed zone"},
	} {
		if r := keys(strings.Fields(x.args)...).want(t, 1); !strings.Contains(r.errOut, x.want) {
			t.Errorf("%s: %s", x.args, r.errOut)
		}
	}
	keys("withdraw").want(t, 0)
	r = keys("list", "--json").want(t, 0)
	if v := jsonLines[dnsKeysView](t, r.out)[0]; v.Withdrawn.IsZero() || v.Serial != made.Serial+1 {
		t.Errorf("%+v", v)
	}
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, scalar, _ := strings.Cut(string(secret), `"private": "`)
	scalar, _, _ = strings.Cut(scalar, `"`)
	if len(scalar) != 44 || strings.Contains(r.out, scalar) {
		t.Errorf("the secret %q is shown in %s", scalar, r.out)
	}
	if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"list", "generate", "roll"} {
		if r := keys(c).want(t, 1); !strings.Contains(r.errOut, file) {
			t.Errorf("%s: %s", c, r.errOut)
		}
	}
}

func TestDNSKeysIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	identity := func(args ...string) string {
		return strings.TrimSpace(perigee(t, nil, append([]string{"dns", "keys", "identity", "--data", dir}, args...)...).want(t, 0).out)
	}
	text := identity()
	if _, err := sign.ParsePublic(text); err != nil {
		t.Error(err)
	}
	if again := identity(); again != text {
		t.Errorf("another identity: %s, then %s", text, again)
	}
	if js := identity("--json"); !strings.Contains(js, `"`+text+`"`) {
		t.Error(js)
	}
	file := filepath.Join(dir, "dns", "dnssec", "identity")
	i, err := os.Stat(file)
	if err != nil || i.Mode().Perm() != 0o600 {
		t.Error(i, err)
	}
	if id, err := sign.LoadIdentity(file); err != nil || id.String() != text {
		t.Errorf("the file is not that identity: %v", err)
	}
	if r := perigee(t, nil, "config", "check", "--set", "dns.key_peers="+text+",pn1-x").want(t, 1); !strings.Contains(r.errOut+r.out, "dns.key_peers") ||
		!strings.Contains(r.errOut+r.out, "perigee dns keys identity") {
		t.Error(r.errOut, r.out)
	}
}
