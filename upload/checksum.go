package upload

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"io"
	"net/http"
	"strings"

	"perigee/problem"
)

// checksumHeader may also come as a trailer, where it was announced as one.
const checksumHeader = "Upload-Checksum"

// algorithms are those of Upload-Checksum. MD5 and SHA-1 find damage; nobody is asked to trust them with more.
var algorithms = []struct {
	name string
	new  func() hash.Hash
}{
	{"sha256", sha256.New}, {"sha1", sha1.New}, {"md5", md5.New}, {"sha512", sha512.New},
}

// algorithmNames is Tus-Checksum-Algorithm.
func algorithmNames() string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return strings.Join(names, ",")
}

// checksum is what a request says of its body's bytes. One that comes in the trailer is known only after them, so all algorithms are
// computed. A nil checksum means that none was given.
type checksum struct {
	given   string // the header's value; "" while it is to come in the trailer
	trailer http.Header
	hashes  []hash.Hash // as algorithms; nil where not computed
}

// newChecksum reads the header of a request, or that one is to come after its body.
func newChecksum(r *http.Request) (*checksum, error) {
	c := &checksum{hashes: make([]hash.Hash, len(algorithms))}
	if c.given = r.Header.Get(checksumHeader); c.given != "" {
		i, _, err := parseChecksum(c.given)
		if err != nil {
			return nil, err
		}
		c.hashes[i] = algorithms[i].new()
		return c, nil
	}
	if _, announced := r.Trailer[checksumHeader]; !announced {
		return nil, nil
	}
	c.trailer = r.Trailer
	for i, a := range algorithms {
		c.hashes[i] = a.new()
	}
	return c, nil
}

// parseChecksum reads "algorithm base64".
func parseChecksum(s string) (algorithm int, sum []byte, err error) {
	name, value, _ := strings.Cut(strings.TrimSpace(s), " ")
	for i, a := range algorithms {
		if a.name != name {
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil || len(sum) != a.new().Size() {
			return 0, nil, refuse(http.StatusBadRequest, "invalid", "%s: %q is not the base64 of a %s.", checksumHeader, clip(value), name)
		}
		return i, sum, nil
	}
	return 0, nil, refuse(http.StatusBadRequest, "invalid", "%s: the algorithm %q is not known here. Use one of %s.", checksumHeader, clip(name), algorithmNames())
}

// of returns r, noting what is read of it.
func (c *checksum) of(r io.Reader) io.Reader {
	if c == nil {
		return r
	}
	var to []io.Writer
	for _, h := range c.hashes {
		if h != nil {
			to = append(to, h)
		}
	}
	return io.TeeReader(r, io.MultiWriter(to...))
}

// verify returns nil if the bytes that were read have the checksum. Call it after the end of the body, when its trailer is known.
func (c *checksum) verify() error {
	given := c.given
	if given == "" {
		if given = c.trailer.Get(checksumHeader); given == "" {
			return refuse(http.StatusBadRequest, "invalid", "The trailer %s was announced and did not come. Nothing of the body is kept.", checksumHeader)
		}
	}
	i, want, err := parseChecksum(given)
	if err != nil {
		return err
	}
	if got := c.hashes[i].Sum(nil); !bytes.Equal(got, want) {
		return refuse(problem.StatusChecksum, "checksum-mismatch", "The bytes that came do not have the given %s. Nothing of them is kept; send them again.", algorithms[i].name)
	}
	return nil
}
