package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"perigee/client"
	"perigee/durable"
)

// What a run has seen of a catalogue with replicas is kept for the next one, so that `perigee ls` shows what `perigee put` has published also where a replica is
// behind (docs/catalogue.md). It is a small file in the user's state directory, $XDG_STATE_HOME/perigee or ~/.local/state/perigee, by the address of the API.
// Nothing else depends on it: one that cannot be read or written is as none.

const (
	seenFile = "consistency.json"
	// seenFor is how long a token is of use. A replica that is behind by more than catalog.max_lag, seconds, answers nobody.
	seenFor = time.Hour
	// maxSeenAddresses, maxSeenTokens and maxSeenToken bound the file; the server takes 64 tokens of 4 KiB.
	maxSeenAddresses, maxSeenTokens, maxSeenToken = 64, 32, 4 << 10
)

// call is a client of this run.
type call struct {
	client *client.Client
	began  []string // with these tokens
}

// seenTokens are those of one address.
type seenTokens struct {
	At     time.Time `json:"at"`
	Tokens []string  `json:"tokens"`
}

// connect makes a client that has seen what earlier runs have.
func (a *app) connect(c client.Config) (*client.Client, error) {
	base := c.BaseURL
	if base == "" {
		base = client.DefaultURL
	}
	if dir := a.stateDir(); dir != "" {
		c.Consistency = a.readSeen(dir)[strings.TrimRight(base, "/")].Tokens
	}
	cl, err := client.New(c)
	if err == nil {
		a.calls = append(a.calls, &call{cl, c.Consistency})
	}
	return cl, err
}

// stateDir returns the user's state directory (XDG Base Directory Specification 0.8); "" if there is none.
func (a *app) stateDir() string {
	if dir := a.lookup("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "perigee")
	}
	if home := a.lookup("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "perigee")
	}
	return ""
}

// readSeen returns what is of use in the file. What others may write into it is not believed, only checked for its form.
func (a *app) readSeen(dir string) map[string]seenTokens {
	all := map[string]seenTokens{}
	b, err := os.ReadFile(filepath.Join(dir, seenFile))
	if err != nil || len(b) > maxSeenAddresses*maxSeenTokens*maxSeenToken || json.Unmarshal(b, &all) != nil {
		return map[string]seenTokens{}
	}
	now := a.clock.Now()
	for base, s := range all {
		age := now.Sub(s.At)
		if age > seenFor || age < -seenFor || len(s.Tokens) > maxSeenTokens || slices.ContainsFunc(s.Tokens, badToken) {
			delete(all, base)
		}
	}
	return all
}

// badToken reports whether t cannot be a token: those are base64url.
func badToken(t string) bool {
	return t == "" || len(t) > maxSeenToken ||
		strings.Trim(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != ""
}

// remember keeps what the clients of this run have seen. That it could not is told, and changes nothing.
func (a *app) remember() {
	for _, c := range a.calls {
		tokens := c.client.Consistency()
		if slices.Equal(tokens, c.began) {
			continue // a run that only reads, or a catalogue without replicas
		}
		if err := a.writeSeen(c, tokens); err != nil {
			fmt.Fprintf(a.stderr, "perigee: what this run has written may be missing from what the next one reads from a replica, for a moment: %v\n", err)
		}
	}
}

// writeSeen adds tokens to those of the address. Runs at the same time each add theirs: those that a run began with are covered by what it ended with.
func (a *app) writeSeen(c *call, tokens []string) error {
	dir := a.stateDir()
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, seenFile+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which unlocks
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	all := a.readSeen(dir)
	base := c.client.BaseURL()
	for _, t := range all[base].Tokens {
		if !slices.Contains(c.began, t) && !slices.Contains(tokens, t) {
			tokens = append(tokens, t)
		}
	}
	all[base] = seenTokens{a.clock.Now().UTC(), tokens[:min(len(tokens), maxSeenTokens)]}
	for len(all) > maxSeenAddresses {
		delete(all, oldest(all))
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return durable.ReplaceBytes(filepath.Join(dir, seenFile), 0o600, b)
}

func oldest(all map[string]seenTokens) (base string) {
	for b, s := range all {
		if base == "" || s.At.Before(all[base].At) {
			base = b
		}
	}
	return base
}
