package pull

import (
	"sync"

	"perigee/edge/cache/store"
)

// remembered keeps what records of names say, decoded, so that a hit decodes nothing. It counts for as long as the store has its record at the place
// where it was read; whoever writes a record forgets what the old one said, so that a place that is used again cannot bring it back.
//
// Two generations: what is used of the old one moves to the new one, and when that is full, it becomes the old one.
type remembered[T any] struct {
	shards [16]rememberedShard[T]
	limit  int64 // bytes of a generation of a shard; 0 keeps nothing
}

type rememberedShard[T any] struct {
	mu       sync.Mutex
	size     int64 // of young
	young    map[store.Key]decoded[T]
	previous map[store.Key]decoded[T]
}

// decoded is what a record said, and where it was.
type decoded[T any] struct {
	ref  store.Ref
	v    T
	size int64
}

// decodedCost is what decoded takes for each byte of its record, roughly; decodedBase what any does.
const (
	decodedCost = 3
	decodedBase = 600
)

// newRemembered makes a cache of at most size bytes.
func newRemembered[T any](size int64) *remembered[T] {
	r := &remembered[T]{limit: size / 2 / 16}
	for i := range r.shards {
		r.shards[i].young = map[store.Key]decoded[T]{}
	}
	return r
}

func (r *remembered[T]) shard(k store.Key) *rememberedShard[T] { return &r.shards[k[0]&15] }

// get returns what the record at ref says.
func (r *remembered[T]) get(k store.Key, ref store.Ref) (v T, ok bool) {
	s := r.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.young[k]
	if !ok {
		if e, ok = s.previous[k]; ok {
			s.add(k, e, r.limit)
		}
	}
	return e.v, ok && e.ref == ref
}

// put notes what a record of n bytes at ref says.
func (r *remembered[T]) put(k store.Key, ref store.Ref, v T, n int) {
	if r.limit == 0 {
		return
	}
	s := r.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(k, decoded[T]{ref, v, decodedBase + decodedCost*int64(n)}, r.limit)
}

// add puts e into the young generation; s.mu is held.
func (s *rememberedShard[T]) add(k store.Key, e decoded[T], limit int64) {
	if e.size > limit {
		return
	}
	if s.size+e.size > limit {
		s.previous, s.young, s.size = s.young, map[store.Key]decoded[T]{}, 0
	}
	s.size += e.size - s.young[k].size
	s.young[k] = e
}

// forget drops what is remembered of k.
func (r *remembered[T]) forget(k store.Key) {
	s := r.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size -= s.young[k].size
	delete(s.young, k)
	delete(s.previous, k)
}
