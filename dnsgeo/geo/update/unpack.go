package update

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxEntries is how many entries of an archive are looked at.
const maxEntries = 10_000

// unpack copies the one file of geo data that r holds to w: r itself, or gzip, or tar, or tar in gzip; what it is is told from its bytes, not from its
// name. Of an archive that is the entry whose name ends with member or, if member is "", with ".mmdb"; there must be exactly one. Names in archives are compared and
// never used as paths. Neither the file nor the archive around it may have more than limit bytes unpacked.
func unpack(w io.Writer, r io.Reader, member string, limit int64) error {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(4)
	switch {
	case len(head) == 0 && err != nil && !errors.Is(err, io.EOF):
		return err
	case len(head) == 0:
		return errors.New("it is empty")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return errors.New("it is a zip archive; use a file as it is, in gzip (.gz) or in tar and gzip (.tar.gz)")
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("unpack gzip: %w", err)
		}
		defer z.Close()
		in = bufio.NewReaderSize(&bounded{r: z, left: limit, limit: limit}, 64<<10)
		if err := extract(w, in, member, limit); err != nil {
			return fmt.Errorf("unpack gzip: %w", err)
		}
		return nil
	}
	return extract(w, bufio.NewReaderSize(&bounded{r: in, left: limit, limit: limit}, 64<<10), member, limit)
}

// extract copies in, or the entry of the tar archive that in is.
func extract(w io.Writer, in *bufio.Reader, member string, limit int64) error {
	const magicAt = 257 // of "ustar" in POSIX and GNU archives
	head, err := in.Peek(magicAt + 5)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(head) == magicAt+5 && string(head[magicAt:]) == "ustar" {
		return extractEntry(w, tar.NewReader(in), member, limit)
	}
	_, err = io.Copy(w, in)
	return err
}

func extractEntry(w io.Writer, t *tar.Reader, member string, limit int64) error {
	var found string
	for range maxEntries {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && found == "":
			return fmt.Errorf("the archive has no file %s", wanted(member))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read archive: %w", err)
		case h.Typeflag != tar.TypeReg || !isWanted(h.Name, member):
			continue
		case found != "":
			return fmt.Errorf("the archive has %q and %q; write which behind a '#' at the end of the URL", found, h.Name)
		}
		found = h.Name
		// A sparse entry is as large as it says, however little there is of it.
		if _, err := io.Copy(w, &bounded{r: t, left: limit, limit: limit}); err != nil {
			return fmt.Errorf("read %q from the archive: %w", h.Name, err)
		}
	}
	return fmt.Errorf("the archive has more than %d entries", maxEntries)
}

func wanted(member string) string {
	if member == "" {
		return "whose name ends with .mmdb"
	}
	return fmt.Sprintf("%q", member)
}

func isWanted(name, member string) bool {
	if member == "" {
		return strings.HasSuffix(name, ".mmdb")
	}
	return name == member || path.Base(name) == member
}

// errTooLarge says that something has more bytes than dns.geo_update.max_size.
var errTooLarge = errors.New("it is larger than allowed; if it is meant to be, raise max_size")

// bounded fails once more than limit bytes were read from r.
type bounded struct {
	r           io.Reader
	left, limit int64
}

// Read reads from r, one byte beyond the limit at most.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if int64(n) > b.left {
		return int(b.left), fmt.Errorf("%w (%d bytes)", errTooLarge, b.limit)
	}
	b.left -= int64(n)
	return n, err
}
