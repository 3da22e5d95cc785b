package pull

import (
	"encoding/binary"
	"testing"

	"perigee/edge/cache/store"
)

func numbered(i int) (k store.Key) {
	binary.BigEndian.PutUint64(k[:], uint64(i))
	k[0] = byte(i)
	return k
}

func TestWhatIsRememberedIsBoundedAndBoundToItsPlace(t *testing.T) {
	const size = 16 * 2 * 10 * (decodedBase + decodedCost*100) // ten records in each generation of each shard
	r := newRemembered[int](size)
	r.put(numbered(1), 7, 42, 100)
	if v, ok := r.get(numbered(1), 7); !ok || v != 42 {
		t.Errorf("%d %v", v, ok)
	}
	if _, ok := r.get(numbered(1), 8); ok {
		t.Error("the record lies elsewhere by now")
	}
	r.forget(numbered(1))
	if _, ok := r.get(numbered(1), 7); ok {
		t.Error("forgotten")
	}
	// What is used stays, whatever else comes.
	r.put(numbered(1), 7, 42, 100)
	for i := range 10_000 {
		r.put(numbered(i+2), 7, i, 100)
		if _, ok := r.get(numbered(1), 7); !ok {
			t.Fatalf("gone after %d others", i)
		}
	}
	n := 0
	for i := range r.shards {
		n += len(r.shards[i].young) + len(r.shards[i].previous)
	}
	if n > 16*2*10 || n < 16*10 {
		t.Errorf("%d are remembered", n)
	}
	// What is larger than a generation, and all without memory, is not kept.
	r.put(numbered(3), 7, 1, 1<<20)
	if _, ok := r.get(numbered(3), 7); ok {
		t.Error("too large")
	}
	none := newRemembered[int](0)
	none.put(numbered(1), 7, 1, 1)
	if _, ok := none.get(numbered(1), 7); ok {
		t.Error("there is no memory")
	}
}
