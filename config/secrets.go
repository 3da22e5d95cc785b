package config

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"perigee/durable"
)

// Embedded-server credentials and the session key are made at random at the first start and kept in the data
// directory, so that nothing is guarded by a password that stands in a manual.

// SecretSet is what secrets.json holds.
type SecretSet struct {
	Format          int    `json:"format"` // 1
	AccessKey       string `json:"s3_access_key"`
	SecretKey       string `json:"s3_secret_key"`
	EdgeAccessKey   string `json:"s3_edge_access_key"`
	EdgeSecretKey   string `json:"s3_edge_secret_key"`
	ControlPassword string `json:"bus_control_password"`
	EdgePassword    string `json:"bus_edge_password"`
	// SessionKey signs the console's sessions: 64 hexadecimal digits.
	SessionKey string `json:"session_key"`
}

// String masks the set.
func (s SecretSet) String() string { return "secrets ********" }

// GoString masks the set for %#v.
func (s SecretSet) GoString() string { return s.String() }

// SessionBytes returns the session key for keys.GuardConfig.
func (s SecretSet) SessionBytes() []byte {
	b, err := hex.DecodeString(s.SessionKey)
	if err != nil {
		return nil // cannot be: readSecrets checked it
	}
	return b
}

// CookieKey returns the key of the DNS cookies of a machine that is given none: for DNSCookies.Jar. It follows from the session key, so that
// a data directory of an older version has one, too.
func (s SecretSet) CookieKey() []byte {
	b, err := hkdf.Key(sha256.New, s.SessionBytes(), nil, "perigee dns cookies", 32)
	if err != nil {
		panic("config: " + err.Error()) // only for a length that SHA-256 cannot give
	}
	return b
}

// EventsSecret returns what stores have to show that post their events, if the configuration names nothing else. It follows from the session key, as CookieKey's does.
func (s SecretSet) EventsSecret() string {
	b, err := hkdf.Key(sha256.New, s.SessionBytes(), nil, "perigee bucket events", 32)
	if err != nil {
		panic("config: " + err.Error()) // only for a length that SHA-256 cannot give
	}
	return hex.EncodeToString(b)
}

// Secrets returns the secrets of a data directory, making them at the first start. Two processes that start at
// once get the same ones: whoever links the file first has made it.
func Secrets(dataDir string) (SecretSet, error) {
	file := filepath.Join(dataDir, "secrets.json")
	s, err := readSecrets(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return SecretSet{}, fmt.Errorf("make data directory: %w", err)
	}
	err = writeSecrets(file, newSecrets())
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return SecretSet{}, fmt.Errorf("write secrets: %w", err)
	}
	return readSecrets(file)
}

func newSecrets() SecretSet {
	return SecretSet{
		Format:          1,
		AccessKey:       "control" + randomHex(6),
		SecretKey:       randomHex(32),
		EdgeAccessKey:   "edge" + randomHex(6),
		EdgeSecretKey:   randomHex(32),
		ControlPassword: randomHex(32),
		EdgePassword:    randomHex(32),
		SessionKey:      randomHex(32),
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}

// readSecrets reads the file. A missing one wraps fs.ErrNotExist.
func readSecrets(file string) (SecretSet, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return SecretSet{}, fmt.Errorf("read secrets: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return SecretSet{}, fmt.Errorf("read secrets: others may read %s (mode %#o); run: chmod 600 %s", file, fi.Mode().Perm(), file)
	}
	b, err := readLimited(file, 64<<10)
	if err != nil {
		return SecretSet{}, fmt.Errorf("read secrets: %w", err)
	}
	return parseSecrets(file, b)
}

func parseSecrets(file string, b []byte) (SecretSet, error) {
	var s SecretSet
	if err := json.Unmarshal(b, &s); err != nil {
		return SecretSet{}, fmt.Errorf("read secrets from %s: %w", file, err)
	}
	if s.Format != 1 {
		return SecretSet{}, fmt.Errorf("read secrets from %s: format %d is not known to this version", file, s.Format)
	}
	for _, v := range []string{s.AccessKey, s.SecretKey, s.EdgeAccessKey, s.EdgeSecretKey, s.ControlPassword, s.EdgePassword} {
		if v == "" {
			return SecretSet{}, fmt.Errorf("read secrets from %s: one is missing; restore the file from a backup, or move it away to make new ones", file)
		}
	}
	if k, err := hex.DecodeString(s.SessionKey); err != nil || len(k) != 32 {
		return SecretSet{}, fmt.Errorf("read secrets from %s: session_key is not 64 hexadecimal digits", file)
	}
	return s, nil
}

// writeSecrets writes a file that must not exist yet, whole and on stable storage. One that does wraps fs.ErrExist.
func writeSecrets(file string, s SecretSet) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.CreateBytes(file, 0o600, append(b, '\n'))
}

// UseSecrets fills the credentials of the embedded servers that the configuration left open. Those of an outside S3 or
// NATS are never made up.
func (c *Config) UseSecrets(s SecretSet) {
	if c.API.EventsSecret.IsZero() {
		c.API.EventsSecret = NewSecret(s.EventsSecret())
	}
	if st := &c.Storage; st.IsEmbedded() {
		if st.AccessKey == "" && st.SecretKey.IsZero() {
			st.AccessKey, st.SecretKey = s.AccessKey, NewSecret(s.SecretKey)
		}
		if st.EdgeAccessKey == "" && st.EdgeSecretKey.IsZero() {
			st.EdgeAccessKey, st.EdgeSecretKey = s.EdgeAccessKey, NewSecret(s.EdgeSecretKey)
		}
	}
	if b := &c.Bus; b.IsEmbedded() {
		if b.ControlPassword.IsZero() {
			b.ControlPassword = NewSecret(s.ControlPassword)
		}
		if b.EdgePassword.IsZero() {
			b.EdgePassword = NewSecret(s.EdgePassword)
		}
	}
}
