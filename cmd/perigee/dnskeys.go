package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"text/tabwriter"
	"time"

	"perigee/dnsgeo/sign"
)

// dnsCommands are the DNS server and what belongs to it; the server runs when no other command is named.
type dnsCommands struct {
	Serve dnsCmd     `cmd:"" default:"withargs" help:"Run the DNS server; the word serve may be left away."`
	Keys  dnsKeysCmd `cmd:"" help:"Make, show and roll the DNSSEC keys of the zone, on the machine of the DNS server."`
}

// dnsKeysCmd works on the key file itself. A running server notices within seconds.
type dnsKeysCmd struct {
	Generate dnsKeysGenerateCmd `cmd:"" help:"Make the first key: the zone is signed from now on."`
	List     dnsKeysListCmd     `cmd:"" default:"withargs" help:"List the keys and what happens to them when."`
	DS       dnsKeysDSCmd       `cmd:"" name:"ds" help:"Print the DS records that the parent zone should have."`
	Roll     dnsKeysRollCmd     `cmd:"" help:"Begin a rollover; with --ds-seen, go on with it."`
	Retire   dnsKeysRetireCmd   `cmd:"" help:"Take back a key that does not sign yet, or erase one that is removed."`
	Withdraw dnsKeysWithdrawCmd `cmd:"" help:"Begin to make the zone unsigned; with --ds-gone, end it."`
	Identity dnsKeysIdentityCmd `cmd:"" help:"Print the public identity of this node, for dns.key_peers of the other DNS nodes."`
}

// dnsKeyStore says where the keys are.
type dnsKeyStore struct {
	Zone string `placeholder:"NAME" help:"The zone; else zone.name of the configuration."`
	Dir  string `type:"path" placeholder:"DIR" help:"Directory of the keys; else dnssec in dns.state of the configuration."`
}

func (s dnsKeyStore) open(a *app) (*sign.Store, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	return sign.OpenStore(cmp.Or(s.Dir, dnssecDir(cfg.DNS.State)), cmp.Or(s.Zone, cfg.Zone.Name))
}

// load returns the keys that are there.
func (s dnsKeyStore) load(a *app) (*sign.KeySet, error) {
	st, err := s.open(a)
	if err != nil {
		return nil, err
	}
	set, err := st.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noDNSKeys(st)
	}
	return set, err
}

func noDNSKeys(st *sign.Store) error {
	return fmt.Errorf("there are no keys in %s: perigee dns keys generate makes the first one", st.File())
}

// change edits the keys that are there.
func (s dnsKeyStore) change(a *app, edit func(*sign.KeySet, time.Time) (*sign.KeySet, error)) (*sign.KeySet, error) {
	st, err := s.open(a)
	if err != nil {
		return nil, err
	}
	return st.Change(func(was *sign.KeySet) (*sign.KeySet, error) {
		if was == nil {
			return nil, noDNSKeys(st)
		}
		return edit(was, a.clock.Now())
	})
}

// dnsKeyView is a key as it is shown: without its secret.
type dnsKeyView struct {
	Tag       uint16     `json:"tag"`
	State     sign.State `json:"state"`
	Published time.Time  `json:"published"`
	Active    time.Time  `json:"active,omitzero"`
	Retired   time.Time  `json:"retired,omitzero"`
	Removed   time.Time  `json:"removed,omitzero"`
	DSAfter   time.Time  `json:"ds_after"`
	DS        string     `json:"ds"`
}

type dnsKeysView struct {
	Zone      string       `json:"zone"`
	Serial    uint64       `json:"serial"`
	Withdrawn time.Time    `json:"withdrawn,omitzero"`
	Keys      []dnsKeyView `json:"keys"`
}

func viewDNSKeys(s *sign.KeySet, now time.Time) dnsKeysView {
	v := dnsKeysView{Zone: s.Zone, Serial: s.Serial, Withdrawn: s.Withdrawn, Keys: []dnsKeyView{}}
	for _, k := range s.Keys {
		v.Keys = append(v.Keys, dnsKeyView{k.Tag, k.State(now), k.Published, k.Active, k.Retired, k.Removed, s.DSAfter(k), k.DS().String()})
	}
	return v
}

// show prints the keys.
func (a *app) showDNSKeys(s *sign.KeySet) error {
	v := viewDNSKeys(s, a.clock.Now())
	if a.JSON {
		return a.printJSON(v)
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Format(time.RFC3339)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "TAG\tSTATE\tPUBLISHED\tACTIVE\tRETIRED\tREMOVED")
	for _, k := range v.Keys {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", k.Tag, k.State, at(k.Published), at(k.Active), at(k.Retired), at(k.Removed))
	}
	return w.Flush()
}

type dnsKeysGenerateCmd struct {
	dnsKeyStore
	MaxTTL time.Duration `placeholder:"24h" help:"Longest TTL of a signed record: longer ones are shortened, because rollovers wait that long."`
}

// Run makes the first key.
func (c *dnsKeysGenerateCmd) Run(a *app) error {
	st, err := c.open(a)
	if err != nil {
		return err
	}
	now := a.clock.Now()
	set, err := st.Change(func(was *sign.KeySet) (*sign.KeySet, error) {
		set, err := sign.Generate(st.Zone(), c.MaxTTL, now)
		switch {
		case err != nil || was == nil:
			return set, err
		case len(was.In(now, sign.Planned, sign.Published, sign.Active, sign.Retired)) > 0:
			return nil, fmt.Errorf("zone %s has keys already: perigee dns keys roll puts a new one in place", was.Zone)
		}
		set.Serial = was.Serial + 1
		return set, nil
	})
	if err != nil {
		return err
	}
	if err := a.showDNSKeys(set); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "The zone is signed from now on. Give the parent its DS record (perigee dns keys ds) not before %s: until then caches may have unsigned answers.\n"+
		"The key is in %s. Every server of the zone needs it before the parent has the DS; keep a copy.\n", set.DSAfter(set.Keys[0]).Format(time.RFC3339), st.File())
	return nil
}

type dnsKeysListCmd struct{ dnsKeyStore }

// Run lists the keys.
func (c *dnsKeysListCmd) Run(a *app) error {
	set, err := c.load(a)
	if err != nil {
		return err
	}
	return a.showDNSKeys(set)
}

type dnsKeysDSCmd struct{ dnsKeyStore }

// Run prints the DS records, in the form of a zone file.
func (c *dnsKeysDSCmd) Run(a *app) error {
	set, err := c.load(a)
	if err != nil {
		return err
	}
	now := a.clock.Now()
	records := []string{}
	for _, k := range set.WantDS(now) {
		records = append(records, k.DS().String())
	}
	if a.JSON {
		if err := a.printJSON(map[string][]string{"ds": records}); err != nil {
			return err
		}
	} else {
		for _, r := range records {
			fmt.Fprintln(a.stdout, r)
		}
	}
	if len(records) > 0 {
		return nil
	}
	for _, k := range set.In(now, sign.Published, sign.Active) {
		if at := set.DSAfter(k); set.Withdrawn.IsZero() && now.Before(at) {
			return fmt.Errorf("the parent may have the DS of key %d from %s on: until then caches may have unsigned answers", k.Tag, at.Format(time.RFC3339))
		}
	}
	fmt.Fprintln(a.stderr, "The parent should have no DS record of this zone.")
	return nil
}

type dnsKeysRollCmd struct {
	dnsKeyStore
	DSSeen bool          `name:"ds-seen" help:"The DS of the new key was seen at every server of the parent."`
	DSTTL  time.Duration `name:"ds-ttl" default:"24h" placeholder:"24h" help:"TTL of the DS records at the parent."`
}

// Run begins a rollover, or goes on with it.
func (c *dnsKeysRollCmd) Run(a *app) error {
	set, err := c.change(a, func(s *sign.KeySet, now time.Time) (*sign.KeySet, error) {
		if c.DSSeen {
			return s.SeeDS(now, c.DSTTL)
		}
		return s.Roll(now)
	})
	if err != nil {
		return err
	}
	if err := a.showDNSKeys(set); err != nil {
		return err
	}
	k := set.Keys[len(set.Keys)-1]
	if c.DSSeen {
		fmt.Fprintf(a.stderr, "Key %d takes over on %s by itself; from then on the parent should have its DS alone.\n", k.Tag, k.Active.Format(time.RFC3339))
		return nil
	}
	fmt.Fprintf(a.stderr, "Key %d is published. Give the parent both DS records (perigee dns keys ds), unless it reads CDS or CDNSKEY by itself. "+
		"When all its servers have them: perigee dns keys roll --ds-seen --ds-ttl TTL\n", k.Tag)
	return nil
}

type dnsKeysRetireCmd struct {
	dnsKeyStore
	Tag uint16 `arg:"" help:"Tag of the key, as list prints it."`
}

// Run takes a key back.
func (c *dnsKeysRetireCmd) Run(a *app) error {
	set, err := c.change(a, func(s *sign.KeySet, now time.Time) (*sign.KeySet, error) { return s.Retire(c.Tag, now) })
	if err != nil {
		return err
	}
	return a.showDNSKeys(set)
}

type dnsKeysWithdrawCmd struct {
	dnsKeyStore
	DSGone bool          `name:"ds-gone" help:"No server of the parent has a DS record of the zone any more."`
	DSTTL  time.Duration `name:"ds-ttl" default:"24h" placeholder:"24h" help:"TTL that the DS records had at the parent."`
}

// Run begins to make the zone unsigned, or ends it.
func (c *dnsKeysWithdrawCmd) Run(a *app) error {
	set, err := c.change(a, func(s *sign.KeySet, now time.Time) (*sign.KeySet, error) {
		if c.DSGone {
			return s.LoseDS(now, c.DSTTL)
		}
		return s.Withdraw(now)
	})
	if err != nil {
		return err
	}
	if err := a.showDNSKeys(set); err != nil {
		return err
	}
	if c.DSGone {
		return nil
	}
	fmt.Fprintln(a.stderr, "The zone stays signed. Have the parent delete its DS records, unless it reads CDS or CDNSKEY by itself. "+
		"When none of its servers has them: perigee dns keys withdraw --ds-gone --ds-ttl TTL")
	return nil
}
