//go:build !linux

package ram

// anonymous is the Go heap where there is no such memory.
type anonymous struct{ heap }
