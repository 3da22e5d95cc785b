package config

import (
	"strings"

	"perigee/dnsgeo/sign"
	"perigee/dnsgeo/sign/share"
)

// Peers returns the identities that share the DNSSEC keys. The error is what config check says.
func (d DNS) Peers() ([]sign.PublicIdentity, error) {
	out := make([]sign.PublicIdentity, len(d.KeyPeers))
	for i, text := range d.KeyPeers {
		var err error
		if out[i], err = sign.ParsePublic(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (v validator) keyPeers(peers []string) {
	const key = "dns.key_peers"
	seen := map[string]bool{}
	for _, text := range peers {
		switch _, err := sign.ParsePublic(text); {
		case strings.HasPrefix(text, "perigee-node-secret"):
			v.bad(key, "one entry is the secret half of an identity, which nobody else may see: remove the file `identity` on that node and start it again, for a new one, "+
				"and put here what `perigee dns keys identity` prints there")
		case err != nil:
			v.bad(key, "%v; `perigee dns keys identity` prints it on each DNS node", err)
		case seen[text]:
			v.bad(key, "%s is there twice; name each node once", text)
		}
		seen[text] = true
	}
	if len(peers) > share.MaxPeers {
		v.bad(key, "it has %d nodes; at most %d can share keys", len(peers), share.MaxPeers)
	}
}
