package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"perigee/keys"
)

func TestSecretsFromFilesAndTheirPrecedence(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "from a file\n")
	write(t, filepath.Join(dir, "empty"), "\n")
	tokenFile := "admin: {token_file: " + filepath.Join(dir, "a") + "}\n"
	for _, tc := range []struct {
		name, file string
		env        []string
		want       string
	}{
		{"file", tokenFile, nil, "from a file"},
		{"variable over file", tokenFile, []string{"PERIGEE_ADMIN_TOKEN=plain"}, "plain"},
		{"file by variable over plain", "admin: {token: plain}\n", []string{"PERIGEE_ADMIN_TOKEN_FILE=" + filepath.Join(dir, "a")}, "from a file"},
		{"plain", "admin: {token: plain}\n", nil, "plain"},
	} {
		c, err := load("perigee.yaml", []byte(tc.file), tc.env, nil)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		} else if got := c.Admin.Token.Reveal(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if _, err := load("perigee.yaml", []byte("admin: {token_file: "+filepath.Join(dir, "empty")+"}\n"), nil, nil); err == nil {
		t.Error("an empty secret file was taken")
	}
}

func TestSecretsAreNotSeen(t *testing.T) {
	const hidden = "hunter2hunter2hunter2"
	c, err := load("perigee.yaml", nil, nil, []string{"admin.token=" + hidden, "dns.cookies.secret=" + hidden, "dns.cookies.next=" + hidden, "storage.secret_key=" + hidden, "storage.access_key=id", "api.key=" + hidden + hidden})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", c.Admin.Token, "config", c, "admin", c.Admin)
	text, err := c.YAML(true)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Map()
	if err != nil {
		t.Fatal(err)
	}
	js, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %s %s %s %s %v", c, c, *c, c.Admin, text, js, raw, log.String(), SecretSet{SecretKey: hidden})
	if strings.Contains(all, hidden) {
		t.Fatal("a secret was printed")
	}
	if !strings.Contains(text, "********") || c.Admin.Token.Reveal() != hidden {
		t.Fatal("the mask or the value is missing")
	}
}

func TestSecretsAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	got := make([]SecretSet, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			s, err := Secrets(dir)
			if err != nil {
				t.Error(err)
			}
			got[i] = s
		})
	}
	wg.Wait()
	for _, s := range got {
		if s != got[0] || len(s.SessionBytes()) != keys.SessionKeyLen || s.SecretKey == s.EdgeSecretKey || s.AccessKey == s.EdgeAccessKey {
			t.Fatal("two starts made different secrets, or weak ones")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	file := filepath.Join(dir, "secrets.json")
	if fi, _ := os.Stat(file); fi.Mode().Perm() != 0o600 {
		t.Fatal(fi.Mode())
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Secrets(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, file, `{"format":1`)
	if _, err := Secrets(dir); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("a broken file was replaced or not named: %v", err)
	}
}

func TestSecretsAreNotMadeUpForOutsideServers(t *testing.T) {
	c, err := Load("", nil, []string{"storage.endpoint=https://s3.example.org", "bus.url=nats://bus.example.org:4222"})
	if err != nil {
		t.Fatal(err)
	}
	c.UseSecrets(newSecrets())
	if c.Storage.AccessKey != "" || !c.Storage.EdgeSecretKey.IsZero() || !c.Bus.ControlPassword.IsZero() {
		t.Fatal("random credentials would be sent to somebody else's server")
	}
	c = Default()
	c.Bus.EdgePassword = NewSecret("mine")
	c.UseSecrets(newSecrets())
	if c.Storage.AccessKey == "" || c.Bus.EdgePassword.Reveal() != "mine" || c.Bus.ControlPassword.IsZero() {
		t.Fatal("the embedded servers' credentials are missing, or one that was given was replaced")
	}
}
