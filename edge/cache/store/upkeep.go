package store

import (
	"context"
	"time"

	"perigee/clock"
)

// scrubPause is how long the scrubber rests when it has seen everything.
const scrubPause = 10 * time.Minute

// scrub reads all bodies, over and over, and drops those that are damaged, until ctx ends.
func (s *Store) scrub(ctx context.Context) {
	for {
		debt := int64(0)
		for i := range s.slots {
			seg := s.slots[i].Load()
			if seg == nil || ctx.Err() != nil || !seg.pin() {
				continue
			}
			list, _ := s.listOf(seg)
			for _, e := range list {
				debt += s.scrubRecord(seg, e)
				if debt < alwaysChecked {
					continue
				}
				if clock.Sleep(ctx, s.cfg.Clock, time.Duration(debt)*time.Second/time.Duration(s.cfg.ScrubRate)) != nil {
					seg.unpin()
					return
				}
				debt = 0
			}
			seg.unpin()
		}
		if clock.Sleep(ctx, s.cfg.Clock, scrubPause) != nil {
			return
		}
	}
}

// scrubRecord checks one body, if the index knows it, and returns how many bytes that took.
func (s *Store) scrubRecord(seg *segment, e listed) int64 {
	w := s.index.get(e.tag)
	r := makeWord(seg.slot, int64(e.off)*unit, int64(e.length)*unit, e.class).ref()
	if !w.is(r) || e.class != Bodies {
		return 0
	}
	h, _, err := s.readHead(seg, w.offset(), nil)
	if err == nil {
		err = checkBody(seg, w.offset()+headSize+int64(h.metaLen), &h)
	}
	if err != nil {
		if _, ok := s.index.remove(e.tag, r); ok {
			s.counters.damaged.Add(1)
			s.cfg.Log.Warn("a record of the cache was found damaged and is dropped", "segment", seg.name, "offset", w.offset(), "err", err)
		}
		return w.length()
	}
	// It is checked at its first use all the same: the disk may do it harm until then.
	s.counters.scrubbed.Add(int64(h.bodyLen))
	return w.length()
}
