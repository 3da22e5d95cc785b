package main

import (
	"fmt"
	"sync"
	"time"
)

// crash loads, kills and checks, over and over.
func crash(o options) (string, error) {
	r, err := newRig(o.perigee, "32MiB")
	if err != nil {
		return "", err
	}
	defer r.close()
	rng := o.random()
	var during, after tally
	missed, asked := int64(0), int64(0) // bytes
	slowest := time.Duration(0)
	for cycle := range o.cycles {
		began := time.Now()
		if err := r.start(); err != nil {
			return "", err
		}
		if cycle > 0 {
			slowest = max(slowest, time.Since(began))
			// All that was ever served, checked against the origin's bytes; how much of it the origin saw says how warm the cache is.
			before := r.farm.Counts().Bytes
			for _, k := range kinds {
				if err := after.ask(r, k, int64(k.Count), 0, 4); err != nil {
					return "", fmt.Errorf("after cycle %d: %w", cycle, err)
				}
				asked += k.Size * int64(k.Count)
			}
			missed += r.farm.Counts().Bytes - before
		}
		var load sync.WaitGroup
		wrong := make(chan error, len(kinds))
		parts := make([]tally, len(kinds))
		for i, k := range kinds {
			load.Go(func() { wrong <- parts[i].ask(r, k, 0, 3, 4) })
		}
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		r.kill()
		load.Wait()
		close(wrong)
		for err := range wrong {
			if err != nil {
				return "", fmt.Errorf("in cycle %d: %w", cycle, err)
			}
		}
		for _, p := range parts {
			during.right, during.broken = during.right+p.right, during.broken+p.broken
		}
	}
	return fmt.Sprintf("%d cycles of kill -9: 0 wrong bytes in %d answers under load and %d after a restart; %.2f %% of their bytes were held; the slowest restart answered after %v",
		o.cycles, during.right, after.right, 100*(1-float64(missed)/float64(max(asked, 1))), slowest.Round(time.Millisecond)), nil
}
