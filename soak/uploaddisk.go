package main

import (
	"fmt"
	"syscall"
	"time"
)

// disk is a file system of its own, which can be full. Only root may mount; without, it is a directory and never full.
type disk struct {
	dir     string
	mounted bool
}

// diskSize is that of a disk that is not full; it takes memory only for what is on it.
const diskSize = 4 << 30

func newDisk(dir string) *disk {
	d := &disk{dir: dir}
	d.mounted = syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0711", diskSize)) == nil
	return d
}

// resize makes the disk as large as that.
func (d *disk) resize(bytes uint64) error {
	return syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", bytes))
}

// fill makes the disk so small that what is on it and room more bytes fill it.
func (d *disk) fill(room uint64) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var s syscall.Statfs_t
		if err := syscall.Statfs(d.dir, &s); err != nil {
			return fmt.Errorf("ask for the size of %s: %w", d.dir, err)
		}
		used := (s.Blocks - s.Bfree) * uint64(s.Bsize)
		err := d.resize(used + room)
		if err == nil || time.Now().After(deadline) { // it fails when more was written meanwhile
			return err
		}
	}
}

func (d *disk) empty() error { return d.resize(diskSize) }

func (d *disk) close() error {
	if !d.mounted {
		return nil
	}
	return syscall.Unmount(d.dir, syscall.MNT_DETACH)
}
