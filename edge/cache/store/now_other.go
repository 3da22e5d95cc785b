//go:build !linux

package store

import "errors"

// ReadNow implements File: no system but Linux tells whether a read would wait.
func (osFile) ReadNow([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
