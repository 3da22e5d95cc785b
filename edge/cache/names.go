package cache

import (
	"time"

	"perigee/object"
	"perigee/purge"
)

// nameKey is a name: the head of a path, or one version of it.
type nameKey struct {
	site    object.Site
	path    object.Path
	version object.Version // "" for the head
}

// tick counts the changes an engine has applied, over restarts. A name remembers the tick at which it was last known
// to be good, so that a hit at an unchanged tick compares one number.
type tick uint64

// marks are the ticks of the last purges of something.
type marks struct {
	Hard tick `json:"hard,omitempty"`
	Soft tick `json:"soft,omitempty"`
}

func (m *marks) raise(at tick, soft bool) {
	if soft {
		m.Soft = at
	} else {
		m.Hard = at
	}
}

func (m marks) max(o marks) marks { return marks{max(m.Hard, o.Hard), max(m.Soft, o.Soft)} }

// name is what the engine knows of a nameKey. The zero pointer means that the bucket has no such file.
type name struct {
	pointer *object.Pointer
	checked tick
	purged  marks
	// confirmed is when the bucket or the log last vouched for it, on the monotonic clock; zero after a restart.
	confirmed time.Time
}

// epochKey names a group of names that one purge covers: a site, a prefix of it, or a tag of it.
type epochKey struct {
	Kind purge.Kind  `json:"k"`
	Site object.Site `json:"s"`
	Name string      `json:"n,omitempty"`
}

// maxEpochs bounds the epochs held, together with table.epochBudget. Beyond it they are folded into one for everything: more is
// revalidated than needed, nothing less.
const (
	maxEpochs     = 65_536
	epochOverhead = 160 // of an epoch in the journal, beside its name
)

// standing is how good a known name is right now.
type standing int

const (
	good    standing = iota
	soft             // must be confirmed; may be served if that fails
	hard             // must be confirmed
	expired          // the lease ran out: confirm; if that fails the site's on_partition decides
)

// table is everything an engine knows about names. It is guarded by Engine.mu.
type table struct {
	now         tick
	all         marks // purge of everything: a reset of the log, or folded epochs
	epochs      map[epochKey]marks
	epochBytes  int // of their names, as the journal has them at worst
	epochBudget int
	names       *lru[nameKey, *name] // pointers and tombstones: those used lately, the store has all
	absent      *lru[nameKey, *name] // paths the bucket does not have: bounded apart, so that a scan of random URLs evicts no pointer
}

func newTable(limit, epochBudget int) *table {
	one := func(*name) int64 { return 1 }
	return &table{
		epochs: map[epochKey]marks{}, epochBudget: epochBudget,
		names:  newLRU[nameKey](int64(limit), one, nil),
		absent: newLRU[nameKey](int64(max(limit/8, 16)), one, nil),
	}
}

// lookup returns what is known of k, or nil.
func (t *table) lookup(k nameKey) *name {
	if n, ok := t.names.get(k); ok {
		return n
	}
	n, _ := t.absent.get(k)
	return n
}

// purgedSince returns the marks of the newest purges that cover n.
func (t *table) purgedSince(k nameKey, n *name) marks {
	m := t.all.max(n.purged)
	if len(t.epochs) == 0 {
		return m
	}
	m = m.max(t.epochs[epochKey{purge.KindSite, k.site, ""}])
	for p := range k.path.Prefixes {
		m = m.max(t.epochs[epochKey{purge.KindPrefix, k.site, string(p)}])
	}
	if n.pointer != nil {
		for _, tag := range n.pointer.Tags {
			m = m.max(t.epochs[epochKey{purge.KindTag, k.site, string(tag)}])
		}
	}
	return m
}

// purged reports whether a purge has named n since it was last checked.
func (t *table) purged(k nameKey, n *name) bool {
	m := t.purgedSince(k, n)
	return m.Hard > n.checked || m.Soft > n.checked
}

// standing judges n by the purges that came since it was last checked; the lease is not its business.
func (t *table) standing(k nameKey, n *name) standing {
	if n.checked == t.now {
		return good
	}
	switch m := t.purgedSince(k, n); {
	case m.Hard > n.checked:
		return hard
	case m.Soft > n.checked:
		return soft
	}
	n.checked = t.now
	return good
}

// raise records a purge of a group at tick t.now.
func (t *table) raise(k epochKey, soft bool) {
	m, ok := t.epochs[k]
	if !ok {
		size := epochOverhead + 6*len(k.Name) // JSON may make six bytes of one
		if len(t.epochs) >= maxEpochs || t.epochBytes+size > t.epochBudget {
			clear(t.epochs)
			t.epochBytes = 0
			t.all = marks{Hard: t.now, Soft: t.now}
			return
		}
		t.epochBytes += size
	}
	m.raise(t.now, soft)
	t.epochs[k] = m
}

// take makes p the pointer of n unless n has a newer one (the version floor), and reports whether it did. from is the tick
// at which the source of p was asked: purges since then still count against it.
func (n *name) take(p *object.Pointer, from tick, confirmed time.Time) bool {
	newer := n.pointer == nil || n.pointer.Version < p.Version || n.pointer.Version == p.Version && from >= n.checked
	if newer {
		n.pointer = p
	}
	n.checked = max(n.checked, from)
	n.confirmed = confirmed
	return newer
}

// stored returns the name of k to be changed, made if there is none. known is what was recalled of it, or nil.
func (t *table) stored(k nameKey, known *name) *name {
	t.absent.remove(k)
	if known != nil && known.pointer != nil {
		return known
	}
	n := &name{}
	t.names.put(k, n)
	return n
}

// restore puts an epoch back that the journal had.
func (t *table) restore(k epochKey, m marks) {
	if _, ok := t.epochs[k]; !ok {
		t.epochBytes += epochOverhead + 6*len(k.Name)
	}
	t.epochs[k] = m
}
