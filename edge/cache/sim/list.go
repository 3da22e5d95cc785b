package sim

// arena holds the objects of a cache as nodes in doubly linked lists, by number: no pointers for the garbage collector to follow.
type arena struct {
	nodes []node
	free  []int32
	at    map[uint64]int32
}

type node struct {
	key        uint64
	size       int64
	prev, next int32 // prev is towards the head, the newest
	freq       uint8
	list       uint8 // which list of its cache it is in
}

// list is one queue of an arena; -1 is no node.
type list struct {
	head, tail int32
	bytes      int64
	n          int
}

func newArena() arena { return arena{at: map[uint64]int32{}} }

func emptyList() list { return list{head: -1, tail: -1} }

func (a *arena) find(key uint64) (int32, bool) {
	i, ok := a.at[key]
	return i, ok
}

func (a *arena) add(r Request) int32 {
	var i int32
	if n := len(a.free); n > 0 {
		i, a.free = a.free[n-1], a.free[:n-1]
	} else {
		i = int32(len(a.nodes))
		a.nodes = append(a.nodes, node{})
	}
	a.nodes[i] = node{key: r.Key, size: r.Size}
	a.at[r.Key] = i
	return i
}

func (a *arena) drop(i int32) {
	delete(a.at, a.nodes[i].key)
	a.free = append(a.free, i)
}

func (a *arena) push(l *list, i int32) {
	n := &a.nodes[i]
	n.prev, n.next = -1, l.head
	if l.head >= 0 {
		a.nodes[l.head].prev = i
	} else {
		l.tail = i
	}
	l.head = i
	l.bytes += n.size
	l.n++
}

func (a *arena) unlink(l *list, i int32) {
	n := &a.nodes[i]
	if n.prev >= 0 {
		a.nodes[n.prev].next = n.next
	} else {
		l.head = n.next
	}
	if n.next >= 0 {
		a.nodes[n.next].prev = n.prev
	} else {
		l.tail = n.prev
	}
	l.bytes -= n.size
	l.n--
}

func (a *arena) front(l *list, i int32) {
	if l.head != i {
		a.unlink(l, i)
		a.push(l, i)
	}
}
