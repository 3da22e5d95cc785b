package cache

// lru is a map bounded by the sum of its values' costs; the least recently used ones make room. It is not safe
// for concurrent use.
type lru[K comparable, V any] struct {
	limit, used int64
	cost        func(V) int64
	evicted     func(K, V) // may be nil; not called for remove
	m           map[K]*lruNode[K, V]
	root        lruNode[K, V] // sentinel: root.next is the most, root.prev the least recently used
}

type lruNode[K comparable, V any] struct {
	key        K
	value      V
	prev, next *lruNode[K, V]
}

func newLRU[K comparable, V any](limit int64, cost func(V) int64, evicted func(K, V)) *lru[K, V] {
	l := &lru[K, V]{limit: limit, cost: cost, evicted: evicted, m: map[K]*lruNode[K, V]{}}
	l.root.prev, l.root.next = &l.root, &l.root
	return l
}

// get returns the value of k and makes it the most recently used.
func (l *lru[K, V]) get(k K) (V, bool) {
	n := l.m[k]
	if n == nil {
		var zero V
		return zero, false
	}
	l.unlink(n)
	l.pushFront(n)
	return n.value, true
}

// peek returns the value of k and leaves the order alone.
func (l *lru[K, V]) peek(k K) (V, bool) {
	if n := l.m[k]; n != nil {
		return n.value, true
	}
	var zero V
	return zero, false
}

// put sets the value of k, makes it the most recently used and evicts what no longer fits.
func (l *lru[K, V]) put(k K, v V) {
	if n := l.m[k]; n != nil {
		l.used += l.cost(v) - l.cost(n.value)
		n.value = v
		l.unlink(n)
		l.pushFront(n)
	} else {
		n = &lruNode[K, V]{key: k, value: v}
		l.m[k] = n
		l.used += l.cost(v)
		l.pushFront(n)
	}
	l.shrink(l.limit)
}

// shrink evicts until at most limit is used.
func (l *lru[K, V]) shrink(limit int64) {
	for l.used > limit && len(l.m) > 0 {
		n := l.root.prev
		l.drop(n)
		if l.evicted != nil {
			l.evicted(n.key, n.value)
		}
	}
}

// remove takes k out without calling evicted.
func (l *lru[K, V]) remove(k K) {
	if n := l.m[k]; n != nil {
		l.drop(n)
	}
}

// each yields all entries, least recently used first.
func (l *lru[K, V]) each(yield func(K, V) bool) {
	for n := l.root.prev; n != &l.root; n = n.prev {
		if !yield(n.key, n.value) {
			return
		}
	}
}

func (l *lru[K, V]) len() int { return len(l.m) }

func (l *lru[K, V]) drop(n *lruNode[K, V]) {
	l.unlink(n)
	delete(l.m, n.key)
	l.used -= l.cost(n.value)
}

func (l *lru[K, V]) unlink(n *lruNode[K, V]) { n.prev.next, n.next.prev = n.next, n.prev }

func (l *lru[K, V]) pushFront(n *lruNode[K, V]) {
	n.prev, n.next = &l.root, l.root.next
	n.prev.next, n.next.prev = n, n
}
