package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pkg/xattr"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
)

// kind is how the metadata of objects is kept: ETags, content types, checksums.
type kind string

const (
	inXattr   kind = "xattr"   // in extended attributes of the object's file: changes atomically with it
	inSidecar kind = "sidecar" // in files of their own below meta/
)

// format is what the file FORMAT holds. Deciding anew at each start would lose all metadata of a directory that was
// restored from a backup onto another file system.
type format struct {
	Format   int  `json:"format"` // 1
	Metadata kind `json:"metadata"`
}

// readFormat decodes the file FORMAT.
func readFormat(b []byte) (format, error) {
	var f format
	if err := json.Unmarshal(b, &f); err != nil {
		return format{}, fmt.Errorf("it is damaged: %w", err)
	}
	if f.Format != 1 {
		return format{}, fmt.Errorf("format %d is not known to this version", f.Format)
	}
	if f.Metadata != inXattr && f.Metadata != inSidecar {
		return format{}, fmt.Errorf("metadata %q is neither %s nor %s", f.Metadata, inXattr, inSidecar)
	}
	return f, nil
}

// openMetadata decides how metadata is kept in root, once, and prepares it.
func openMetadata(root string) (kind, meta.MetadataStorer, error) {
	if err := os.MkdirAll(filepath.Join(root, "s3"), 0o700); err != nil {
		return "", nil, fmt.Errorf("storage directory %s: %w", root, describe(err))
	}
	file := filepath.Join(root, "FORMAT")
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f := format{Format: 1, Metadata: inXattr}
		if probeXattr(filepath.Join(root, "s3")) != nil {
			f.Metadata = inSidecar
		}
		if err := writeFormat(file, f); err != nil {
			return "", nil, fmt.Errorf("storage format %s: %w", file, describe(err))
		}
		return openStorer(root, f.Metadata)
	case err != nil:
		return "", nil, fmt.Errorf("storage format %s: %w", file, describe(err))
	}
	f, err := readFormat(b)
	if err != nil {
		return "", nil, fmt.Errorf("storage format %s: %w", file, err)
	}
	if f.Metadata == inXattr {
		if err := probeXattr(filepath.Join(root, "s3")); err != nil {
			return "", nil, fmt.Errorf("storage directory %s: its objects have extended attributes, which this file system cannot keep"+
				" (%w); move it back, or to one that can, with cp -a or rsync -X", root, err)
		}
	}
	return openStorer(root, f.Metadata)
}

func openStorer(root string, k kind) (kind, meta.MetadataStorer, error) {
	if k == inXattr {
		return k, shortParts{meta.XattrMeta{}}, nil
	}
	dir := filepath.Join(root, "meta")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("storage directory %s: %w", root, describe(err))
	}
	s, err := meta.NewSideCar(dir)
	if err != nil {
		return "", nil, fmt.Errorf("storage metadata %s: %w", dir, err)
	}
	return k, s, nil
}

// writeFormat stores f so that a crash leaves no half file.
func writeFormat(file string, f format) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "FORMAT.*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	_, err = tmp.Write(append(b, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	return syncPath(filepath.Dir(file))
}

// probeXattr finds out whether files in dir can have extended attributes of the size objects need, by giving one to a file:
// some file systems answer reads politely and refuse writes.
func probeXattr(dir string) error {
	f, err := os.CreateTemp(dir, ".probe.*")
	if err != nil {
		return describe(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return xattr.FSet(f, "user.perigee.probe", make([]byte, 1024))
}

// shortParts keeps one attribute small. The backend stores the sizes of an upload's parts with the object, for reads by part
// number; for about a thousand parts that exceeds the 4 KiB that ext4 has for all attributes of a file, and completing
// the upload would fail. Perigee reads ranges, not parts: above the limit only the upload's id is kept.
type shortParts struct{ meta.MetadataStorer }

const (
	partsAttribute = "mp-metadata" // the backend's name for it
	partsLimit     = 1024          // bytes
)

func (s shortParts) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	if attribute == partsAttribute && len(value) > partsLimit {
		m, err := backend.UnmarshalMpUploadMetadata(value, false)
		if err != nil {
			return fmt.Errorf("shorten part sizes of %s: %w", object, err)
		}
		m.Parts = nil
		if value, err = backend.MarshalMpUploadMetadata(m, false); err != nil {
			return fmt.Errorf("shorten part sizes of %s: %w", object, err)
		}
	}
	return s.MetadataStorer.StoreAttribute(f, bucket, object, attribute, value)
}

// syncPath brings a file or directory to stable storage. One that is gone needs no syncing.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
