package ram

import "syscall"

// anonymous is memory of the system that the collector neither scans nor counts. Pages are given when they are first written.
type anonymous struct{}

func (anonymous) alloc(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	// A look-up among a million entries spends a tenth of its time on page tables otherwise. A system without large pages says no, which is fine.
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	return b
}

func (anonymous) free(b []byte) {
	// It fails only for what was not mapped, and then there is nothing to give back.
	_ = syscall.Munmap(b)
}
