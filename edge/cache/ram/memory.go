package ram

import "unsafe"

// memory is where slabs and index come from. alloc returns zeroes aligned to 8 bytes, nil if there are none to be had.
type memory interface {
	alloc(n int) []byte
	free(b []byte)
}

// heap is memory the collector counts: for systems other than Linux, and for tests, since the race detector and checkptr see nothing else.
type heap struct{}

func (heap) alloc(n int) []byte {
	if n <= 0 {
		return nil
	}
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

func (heap) free([]byte) {}

// wordsOf is b as words. b must be aligned to 8 bytes.
func wordsOf(b []byte) []uint64 {
	if len(b) < 8 {
		return nil
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(&b[0])), len(b)/8)
}
