// Package object is the vocabulary every other room speaks: Site, Path, Hash, Version, Pointer, Tag, Range,
// the hash tree of a blob and the bucket's key layout.
//
// It is pure: standard library only, no I/O, no goroutines, no clock. A value that its parser returned is
// canonical and may be compared, stored and used as a map key as it is.
//
// Two ideas from ARCHITECTURE.md live here. Bytes are immutable: a blob is known by its SHA-256 (Hash) and by
// the root of a hash tree over its 1 MiB chunks (Tree), so that any chunk can be checked alone, wherever it
// came from. Names are not: a Pointer says which blob a path means since which Version, or that the path is gone.
package object

import "errors"

// ErrInvalid is wrapped by every parser of this package when its input is malformed. The message names the
// rule that was broken and is fit to be shown to the person who sent the input.
var ErrInvalid = errors.New("invalid")
