package upload

import "sync"

// buffers are the memory of parts of the usual sizes. It lies outside the heap where the system allows that: on the heap each upload would leave as much garbage behind as
// it has held, and the collector lets the heap grow by a share of all that is on it. What nobody uses has no memory, only addresses, and those are bounded by Config.Memory.
type buffers struct {
	mu   sync.Mutex
	free map[int][][]byte // by size
	ours map[*byte]bool   // the first bytes of all that were made here
}

// take returns an empty buffer for size bytes.
func (b *buffers) take(size int) []byte {
	if size != pooledPart && size != unknownPart {
		return make([]byte, 0, size)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if free := b.free[size]; len(free) > 0 {
		b.free[size] = free[:len(free)-1]
		return free[len(free)-1]
	}
	buf := obtain(size)
	if buf == nil {
		return make([]byte, 0, size)
	}
	if b.ours == nil {
		b.ours, b.free = map[*byte]bool{}, map[int][][]byte{}
	}
	b.ours[&buf[0]] = true
	return buf[:0]
}

// give takes back a buffer that nobody reads or writes any more. What was not made here, such as nil, is the garbage collector's.
func (b *buffers) give(buf []byte) {
	if cap(buf) == 0 {
		return
	}
	buf = buf[:cap(buf)]
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ours[&buf[0]] {
		return
	}
	vacate(buf)
	b.free[len(buf)] = append(b.free[len(buf)], buf[:0])
}
