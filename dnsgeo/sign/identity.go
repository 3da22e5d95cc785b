package sign

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"perigee/durable"
)

// Identity is the key by which a node is known to those that share key sets with it: X25519 (RFC 7748). It signs no DNS record.
type Identity struct {
	private *ecdh.PrivateKey
}

// PublicIdentity is the half of an Identity that others may know.
type PublicIdentity [32]byte

const (
	identityPrefix = "perigee-node-secret-1 "
	publicPrefix   = "pn1-"
	maxIdentity    = 256 // bytes of the file
)

// NewIdentity makes an Identity.
func NewIdentity() (*Identity, error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	return &Identity{k}, nil
}

// LoadIdentity reads the identity in file, which it makes, with mode 0600, when it is not there. Of several that make it at the same time all get the same.
func LoadIdentity(file string) (*Identity, error) {
	for try := 0; ; try++ {
		b, err := readSmall(file, maxIdentity)
		switch {
		case err == nil:
			id, err := ParseIdentity(b)
			if err != nil {
				return nil, fmt.Errorf("read identity: %s: %w", file, err)
			}
			return id, nil
		case !errors.Is(err, fs.ErrNotExist) || try > 0:
			return nil, fmt.Errorf("read identity: %w", err)
		}
		id, err := NewIdentity()
		if err != nil {
			return nil, err
		}
		err = os.MkdirAll(filepath.Dir(file), 0o700)
		if err == nil {
			err = durable.CreateBytes(file, 0o600, id.Marshal())
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("keep identity: %w", err)
		}
	}
}

// Marshal returns the secret in the form of ParseIdentity: one line of text.
func (i *Identity) Marshal() []byte {
	return []byte(identityPrefix + base64.StdEncoding.EncodeToString(i.private.Bytes()) + "\n")
}

// ParseIdentity reads what Marshal writes.
func ParseIdentity(b []byte) (*Identity, error) {
	text, ok := bytes.CutPrefix(b, []byte(identityPrefix))
	if !ok || len(b) > maxIdentity {
		return nil, fmt.Errorf("it does not begin with %q", strings.TrimSpace(identityPrefix))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return nil, err
	}
	k, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		return nil, err
	}
	return &Identity{k}, nil
}

// Public returns what others may know.
func (i *Identity) Public() PublicIdentity { return PublicIdentity(i.private.PublicKey().Bytes()) }

// String returns the text that ParsePublic reads. The secret is never printed.
func (i *Identity) String() string { return i.Public().String() }

// String returns the text that ParsePublic reads.
func (p PublicIdentity) String() string {
	return publicPrefix + base64.RawURLEncoding.EncodeToString(p[:])
}

// ParsePublic reads what String returns.
func ParsePublic(text string) (PublicIdentity, error) {
	rest, ok := strings.CutPrefix(text, publicPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if !ok || err != nil || len(raw) != len(PublicIdentity{}) {
		return PublicIdentity{}, fmt.Errorf("%q is no identity of a node: it is %q and 43 characters", text, publicPrefix)
	}
	return PublicIdentity(raw), nil
}
