package upload

import "syscall"

// obtain returns n bytes outside the heap, nil if there are none.
func obtain(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

// vacate gives the memory of b back to the system, and leaves its addresses. Zeros are read there from then on.
func vacate(b []byte) {
	// Without success it is memory that waits for the next upload.
	_ = syscall.Madvise(b, syscall.MADV_DONTNEED)
}
