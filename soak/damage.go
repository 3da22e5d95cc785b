package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// damage hurts segment files: any record while the edge is stopped; while it serves, with memory off, bits of small records, and whole files cut short under large ones.
func damage(o options) (string, error) {
	r, err := newRig(o.perigee, "0")
	if err != nil {
		return "", err
	}
	defer r.close()
	rng := o.random()
	var t tally
	flips, cuts := 0, 0
	all := func() error {
		for _, k := range kinds {
			if err := t.ask(r, k, int64(k.Count), 0, 4); err != nil {
				return err
			}
		}
		return nil
	}
	for cycle := range o.cycles {
		if err := r.start(); err != nil {
			return "", err
		}
		for range 2 { // what was hurt while it was stopped, and what was fetched again
			if err := all(); err != nil {
				return "", fmt.Errorf("after damage while stopped, cycle %d: %w", cycle, err)
			}
		}
		if cycle%2 == 0 {
			// Only small objects: of large ones, what is hurt after it was checked is found by the scrubber, not by the reader.
			flips += hurt(r, rng, 40, false)
			for _, k := range kinds[:2] {
				if err := t.ask(r, k, int64(k.Count), 0, 4); err != nil {
					return "", fmt.Errorf("after flips while serving, cycle %d: %w", cycle, err)
				}
			}
		} else {
			done := make(chan error, 1)
			go func() { done <- t.ask(r, kinds[2], 0, 1, 4) }()
			time.Sleep(time.Duration(100+rng.IntN(500)) * time.Millisecond)
			cuts += hurt(r, rng, 2, true)
			if err := <-done; err != nil {
				return "", fmt.Errorf("segments cut under readers, cycle %d: %w", cycle, err)
			}
			if err := all(); err != nil {
				return "", fmt.Errorf("after segments were cut, cycle %d: %w", cycle, err)
			}
		}
		r.kill()
		flips += hurt(r, rng, 60, false)
		cuts += hurt(r, rng, rng.IntN(2), true)
	}
	return fmt.Sprintf("%d cycles, %d bits flipped and %d segments cut at random places: 0 wrong answers of %d, %d broken transfers, %d of them with other bytes before they broke (the first: %s)", o.cycles, flips, cuts, t.right, t.broken, t.spoilt, cmp.Or(t.first, "none")), nil
}

// hurt flips n bits, or cuts n files, at random places; it returns how many it did.
func hurt(r *rig, rng *rand.Rand, n int, cut bool) (done int) {
	all := r.segments()
	for range n {
		if len(all) == 0 {
			return done
		}
		path := all[rng.IntN(len(all))]
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Size() > 0 {
			at := rng.Int64N(info.Size())
			var b [1]byte
			switch _, err := f.ReadAt(b[:], at); {
			case cut && f.Truncate(at) == nil:
				done++
			case !cut && err == nil:
				b[0] ^= 1 << rng.IntN(8)
				if _, err := f.WriteAt(b[:], at); err == nil {
					done++
				}
			}
		}
		f.Close()
	}
	return done
}
