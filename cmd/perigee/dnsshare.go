package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/dnsgeo"
	"perigee/dnsgeo/sign"
	"perigee/dnsgeo/sign/share"
)

func dnssecDir(state string) string { return filepath.Join(state, "dnssec") }

// identityFile is in the directory of the keys: a node that loses one loses both, see package share.
func identityFile(dir string) string { return filepath.Join(dir, "identity") }

type dnsKeysIdentityCmd struct {
	Dir string `type:"path" placeholder:"DIR" help:"Directory of the keys; else dnssec in dns.state of the configuration."`
}

// Run prints the public identity, which is made if there is none.
func (c *dnsKeysIdentityCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	id, err := sign.LoadIdentity(identityFile(cmp.Or(c.Dir, dnssecDir(cfg.DNS.State))))
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(map[string]string{"identity": id.String()})
	}
	_, err = fmt.Fprintln(a.stdout, id)
	return err
}

// zoneKeys are the DNSSEC keys of a DNS server of the fleet.
type zoneKeys struct {
	store  *sign.Store
	signer *sign.Signer
	share  *share.Share // nil when the keys are shared with nobody
}

// keys returns the keys of the fleet's zone; with dns.key_peers it exchanges them with the other DNS nodes.
func (r *role) keys(ctx context.Context, name string, m *member) (*zoneKeys, error) {
	k, err := r.keysOf(r.cfg.Zone.Name)
	if err != nil || len(r.cfg.DNS.KeyPeers) == 0 {
		return k, err
	}
	return k, r.shareKeys(ctx, name, m, k)
}

// keysOf returns the keys of a zone and follows their file. Without keys nothing is signed, until there are some. Keys that are there and cannot be read are an error: to answer
// unsigned where the parent has a DS would make the whole zone bogus.
func (r *role) keysOf(zone string) (*zoneKeys, error) {
	st, err := sign.OpenStore(dnssecDir(r.cfg.DNS.State), zone)
	if err != nil {
		return nil, err
	}
	set, err := st.Load()
	if errors.Is(err, fs.ErrNotExist) {
		set, err = sign.Unsigned(st.Zone()), nil
	}
	if err != nil {
		return nil, err
	}
	k := &zoneKeys{store: st}
	if k.signer, err = sign.NewSigner(set, r.clock.Now(), sign.Limits{}); err != nil {
		return nil, err
	}
	r.start("DNSSEC keys", func(ctx context.Context) error {
		st.Follow(ctx, r.clock, r.log, k.signer.Use)
		return nil
	})
	return k, nil
}

// shareKeys starts the exchange of keys with the other DNS nodes.
func (r *role) shareKeys(ctx context.Context, name string, m *member, k *zoneKeys) error {
	self, err := sign.LoadIdentity(identityFile(dnssecDir(r.cfg.DNS.State)))
	if err != nil {
		return err
	}
	peers, err := r.cfg.DNS.Peers()
	if err != nil {
		return fmt.Errorf("dns.key_peers: %w", err)
	}
	client := m.bus
	if m.account == asControl { // whose account does not have the subject
		if client, err = r.connectBus(ctx, name+" keys", asNode, m.server, nil); err != nil {
			return err
		}
	}
	k.share, err = share.New(share.Config{Self: self, Peers: peers, Store: k.store, Signer: k.signer, Bus: client, Log: r.log, Clock: r.clock})
	if err != nil {
		return err
	}
	r.log.Info("DNSSEC keys are shared", "identity", self.String(), "peers", len(peers))
	r.start("exchange of DNSSEC keys", k.share.Run)
	return nil
}

// configure makes a DNS server use the keys.
func (k *zoneKeys) configure(c *dnsgeo.Config) {
	if c.Signer = k.signer; k.share != nil {
		c.Withheld = k.share.Awaited
	}
}

// ready returns why the zone cannot be answered because of its keys; nil when it can.
func (k *zoneKeys) ready() error {
	if k.share == nil {
		return nil
	}
	return k.share.Ready()
}

func (k *zoneKeys) register(reg prometheus.Registerer) {
	if k.share != nil {
		share.RegisterMetrics(reg, k.share)
	}
}
