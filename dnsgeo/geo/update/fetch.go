package update

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"perigee/origin/site"
)

const (
	maxRedirects = 5
	maxSums      = 64 << 10 // bytes of a published checksum
	fetchTimeout = 30 * time.Minute
)

// fetched is what a source answered.
type fetched struct {
	unchanged    bool // there is nothing newer
	url          string
	etag         string
	lastModified string
}

// statusError is an answer that is not the one hoped for.
type statusError struct {
	code   int
	status string
	retry  string // Retry-After
}

func (e *statusError) Error() string {
	switch e.code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "the server answers " + e.status + ": check account and license_key"
	case http.StatusNotFound, http.StatusGone:
		return "the server answers " + e.status + ": check the URL"
	case http.StatusTooManyRequests:
		if e.retry != "" {
			return "the server answers " + e.status + " and asks to be left alone for " + e.retry + " (seconds, or until then); raise every"
		}
		return "the server answers " + e.status + ": raise every"
	}
	return "the server answers " + e.status
}

// fetch asks a source for what is newer than the file at hand, which known describes, and writes it unpacked to w.
func (u *Updater) fetch(ctx context.Context, t *target, known state, w io.Writer) (fetched, error) {
	if t.path != "" {
		return u.copyLocal(t, known, w)
	}
	now := u.Clock.Now().UTC()
	got, err := u.download(ctx, t, expand(t.pattern, now, known.MD5), known, w)
	if s := (*statusError)(nil); errors.As(err, &s) && s.code == http.StatusNotFound && dated(t.pattern) {
		return u.download(ctx, t, expand(t.pattern, monthBefore(now), known.MD5), known, w)
	}
	return got, err
}

// copyLocal takes a file of this machine. Whether it is newer is told by its size and time, where an ETag would be.
func (u *Updater) copyLocal(t *target, known state, w io.Writer) (fetched, error) {
	f, err := os.Open(t.path)
	if err != nil {
		return fetched{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fetched{}, err
	}
	if !info.Mode().IsRegular() {
		return fetched{}, fmt.Errorf("%s is not a regular file", t.path)
	}
	got := fetched{url: t.path, etag: fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())}
	if known.URL == got.url && known.ETag == got.etag {
		got.unchanged = true
		return got, nil
	}
	return got, unpack(w, f, t.member, u.MaxSize)
}

// download sends one request, conditional where known is of the same URL, and unpacks its answer to w.
func (u *Updater) download(ctx context.Context, t *target, address string, known state, w io.Writer) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	got := fetched{url: address}
	var validators http.Header
	if known.URL == address || strings.Contains(t.pattern, "{md5}") && known.MD5 != "" {
		validators = http.Header{}
		if known.ETag != "" {
			validators.Set("If-None-Match", known.ETag)
		} else if known.LastModified != "" {
			validators.Set("If-Modified-Since", known.LastModified)
		}
	}
	resp, err := u.get(ctx, t, address, validators)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	got.etag, got.lastModified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	switch {
	case resp.StatusCode == http.StatusNotModified && validators != nil:
		got.unchanged = true
		return got, nil
	case resp.StatusCode != http.StatusOK:
		return got, &statusError{resp.StatusCode, resp.Status, resp.Header.Get("Retry-After")}
	case resp.ContentLength > u.MaxSize:
		return got, fmt.Errorf("%w (%d bytes, allowed are %d)", errTooLarge, resp.ContentLength, u.MaxSize)
	}
	packed, plain := newSums(), newSums()
	body := io.TeeReader(&bounded{r: resp.Body, left: u.MaxSize, limit: u.MaxSize}, packed)
	if err := unpack(io.MultiWriter(w, plain), body, t.member, u.MaxSize); err != nil {
		return got, err
	}
	// What unpacking has left over, such as the padding of an archive, belongs to the file that the checksum is of.
	if _, err := io.Copy(io.Discard, body); err != nil {
		return got, err
	}
	if want := strings.ToLower(resp.Header.Get("X-Database-MD5")); want != "" && !plain.are(want) && !packed.are(want) {
		return got, fmt.Errorf("the MD5 of the download is %s, announced was %q: it was damaged on its way; it will be tried again", plain.md5(), want)
	}
	return got, u.checkSum(ctx, t, address, packed, plain)
}

// checkSum compares a download with the checksum that is published for it, if Config.Checksum says where.
func (u *Updater) checkSum(ctx context.Context, t *target, address string, packed, plain *sums) error {
	if u.Checksum == "" {
		return nil
	}
	from := strings.ReplaceAll(u.Checksum, "{url}", address)
	resp, err := u.get(ctx, t, from, nil)
	if err != nil {
		return fmt.Errorf("fetch checksum: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch checksum: %w", &statusError{resp.StatusCode, resp.Status, resp.Header.Get("Retry-After")})
	}
	text, err := io.ReadAll(&bounded{r: resp.Body, left: maxSums, limit: maxSums})
	if err != nil {
		return fmt.Errorf("fetch checksum: %w", err)
	}
	want := publishedSum(string(text), path.Base(address))
	if want == "" {
		return errors.New("fetch checksum: what is published holds no MD5 and no SHA-256; check checksum")
	}
	if !packed.are(want) && !plain.are(want) {
		return fmt.Errorf("the checksum of the download is %s (SHA-256), published is %s: it was damaged or exchanged on its way", packed.sha256(), want)
	}
	return nil
}

var hexSum = regexp.MustCompile(`\b(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{32})\b`)

// publishedSum finds the MD5 or SHA-256 in what md5sum, sha256sum and their like have written: in the line that names the file if there is one, else the first.
func publishedSum(text, name string) string {
	var first string
	for line := range strings.Lines(text) {
		sum := strings.ToLower(hexSum.FindString(line))
		if sum != "" && strings.Contains(line, name) {
			return sum
		}
		if first == "" {
			first = sum
		}
	}
	return first
}

// get sends one request. Credentials go to those whose they are, and never along with a redirect to another host: net/http sees to that.
func (u *Updater) get(ctx context.Context, t *target, address string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("User-Agent", "perigee")
	if u.mayKnow(t, req.URL) {
		req.SetBasicAuth(u.Account, u.LicenseKey)
	}
	resp, err := u.client.Do(req)
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err // the URL is named by whoever logs, and a redirect's may carry a signature
	}
	if errors.Is(err, site.ErrForbidden) {
		err = fmt.Errorf("%w (dns.geo_update.allow)", err)
	}
	return resp, err
}

// mayKnow reports whether credentials are sent to a URL that is asked on behalf of a source. They are MaxMind's, where a source is; else they are for every source,
// a mirror of the operator's. Another host that only has the checksum gets none.
func (u *Updater) mayKnow(t *target, to *url.URL) bool {
	if u.Account == "" || to.Scheme != "https" && !isLoopback(to.Host) || to.Host != t.host() {
		return false
	}
	for i := range u.targets {
		if u.targets[i].ofMaxMind() {
			return t.ofMaxMind()
		}
	}
	return true
}

// redirect allows a few redirects, none of which leaves TLS.
func redirect(req *http.Request, via []*http.Request) error {
	req.Header.Del("Referer") // the query of a URL can carry a key
	if len(via) > maxRedirects {
		return fmt.Errorf("it redirects more than %d times", maxRedirects)
	}
	if s := req.URL.Scheme; s != "https" && (s != "http" || via[0].URL.Scheme == "https") {
		return fmt.Errorf("it redirects to %s, away from https", req.URL.Host)
	}
	return nil
}

// sums are the checksums of what was written.
type sums struct{ m, s hash.Hash }

func newSums() *sums { return &sums{md5.New(), sha256.New()} }

// Write adds p.
func (s *sums) Write(p []byte) (int, error) {
	s.m.Write(p)
	return s.s.Write(p)
}

func (s *sums) md5() string    { return hex.EncodeToString(s.m.Sum(nil)) }
func (s *sums) sha256() string { return hex.EncodeToString(s.s.Sum(nil)) }

// are reports whether want, in small hexadecimal digits, is one of the checksums.
func (s *sums) are(want string) bool { return want == s.md5() || want == s.sha256() }
