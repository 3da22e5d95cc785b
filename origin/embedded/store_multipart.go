package embedded

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// uploadsDir is where the backend keeps the uploads of one key, relative to the directory of buckets.
func uploadsDir(bucket, key string) string {
	return filepath.Join(bucket, posix.MetaTmpMultipartDir, fmt.Sprintf("%x", sha256.Sum256([]byte(key))))
}

// CreateMultipartUpload begins an upload durably.
func (s *store) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	out, err := s.Posix.CreateMultipartUpload(toTheEnd(ctx), in)
	if err != nil {
		return out, err
	}
	return out, s.publishUpload(*in.Bucket, *in.Key, out.UploadId)
}

// publishUpload makes the directory of an upload durable, with what the backend noted on it. These directories come and go
// with every upload, so that remembering them is not worth while.
func (s *store) publishUpload(bucket, key, id string) error {
	rel := filepath.Join(uploadsDir(bucket, key), id)
	for dir := rel; dir != "."; dir = filepath.Dir(dir) {
		if err := s.fsync(filepath.Join(s.root, dir)); err != nil {
			return fmt.Errorf("sync upload %s: %w", dir, err)
		}
	}
	return s.publishMultipartSidecar(rel)
}

func (s *store) publishMultipartSidecar(rel string) error {
	bucket, object, _ := strings.Cut(rel, string(filepath.Separator))
	if err := s.publishSidecar(bucket, object); err != nil {
		return err
	}
	return s.publishSidecar(bucket, filepath.Dir(object))
}

// UploadPart stores a part durably: whoever resumes an upload relies on the parts that were acknowledged.
func (s *store) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	defer s.enter()()
	out, err := s.Posix.UploadPartWithPostFunc(toTheEnd(ctx), in, s.syncFile)
	if err != nil {
		return nil, err
	}
	return out, s.publishPart(*in.Bucket, *in.Key, *in.UploadId, *in.PartNumber)
}

// UploadPartCopy makes a part of an object, durably.
func (s *store) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	out, err := s.Posix.UploadPartCopy(toTheEnd(ctx), in)
	if err != nil {
		return out, err
	}
	return out, s.publishPart(*in.Bucket, *in.Key, *in.UploadId, *in.PartNumber)
}

func (s *store) publishPart(bucket, key, id string, number int32) error {
	dir := filepath.Join(uploadsDir(bucket, key), id)
	part := filepath.Join(dir, fmt.Sprint(number))
	for _, path := range []string{part, dir} {
		if err := s.fsync(filepath.Join(s.root, path)); err != nil {
			return fmt.Errorf("sync part %s: %w", path, err)
		}
	}
	return s.publishMultipartSidecar(part)
}

// AbortMultipartUpload throws an upload away. That is not synced: after a power cut it may be there again, and whoever
// looks for old uploads finds it again.
func (s *store) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	return s.Posix.AbortMultipartUpload(toTheEnd(ctx), in)
}

// completion is a CompleteMultipartUpload under way, and those that wait for it.
type completion struct {
	sync.Mutex     // held by the one that works
	users      int // guarded by store.mu
}

// CompleteMultipartUpload joins the parts durably. Of several calls for one upload, one works and the others wait: the backend
// would tell the others at once that all is done, while the parts are still being joined and that may yet fail.
func (s *store) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	var none s3response.CompleteMultipartUploadResult
	if in.Key == nil || in.UploadId == nil || in.MultipartUpload == nil {
		return none, "", s3err.GetAPIError(s3err.ErrInvalidRequest)
	}
	defer s.enter()()
	defer s.turn(*in.UploadId)()
	ctx = toTheEnd(ctx)
	var out s3response.CompleteMultipartUploadResult
	var version string
	err := s.commit(*in.Bucket, *in.Key, func(lock func()) (err error) {
		joiner := s.joiner(len(in.MultipartUpload.Parts), lock)
		out, version, err = s.Posix.CompleteMultipartUploadWithCopy(ctx, in, joiner)
		return err
	})
	if err != nil {
		return none, "", err
	}
	if err := s.checkCompleted(*in.Bucket, *in.Key, *in.UploadId); err != nil {
		return none, "", err
	}
	return out, version, s.publish(*in.Bucket, *in.Key)
}

// joiner returns the backend's copy function for an upload of n parts. It is called for one part after the other and, after the
// last, syncs the object and calls synced: the backend removes the parts as soon as the object has its name, so the object must be
// whole on disk before that. A failure closes the object's file, as the backend takes an error for a reason to copy in
// its own way, and must not succeed with that.
func (s *store) joiner(n int, synced func()) posix.CustomCopyFunc {
	return func(from, to *os.File) (repeatable bool, err error) {
		n--
		if _, err = io.Copy(to, from); err == nil && n == 0 {
			err = s.syncFile(to)
			defer synced()
		}
		if err != nil {
			to.Close()
		}
		return true, err
	}
}

// checkCompleted makes sure that key was made by upload id. The backend reports success whenever the upload is gone and there
// is any object of that name.
func (s *store) checkCompleted(bucket, key, id string) error {
	made, err := s.madeBy(bucket, key)
	if err != nil || made != id {
		return s3err.GetNoSuchUploadErr(id)
	}
	return nil
}

// turn waits until nobody else completes upload id, and returns what ends the turn.
func (s *store) turn(id string) (done func()) {
	id = strings.Clone(id) // the server reuses the memory of its requests
	s.mu.Lock()
	c := s.completing[id]
	if c == nil {
		c = &completion{}
		s.completing[id] = c
	}
	c.users++
	s.mu.Unlock()
	c.Lock()
	return func() {
		c.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.users--; c.users == 0 {
			delete(s.completing, id)
		}
	}
}
