package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
)

// ensureBucket creates the bucket unless it is there and usable.
func (s *store) ensureBucket(ctx context.Context, bucket, owner string) error {
	dir := filepath.Join(s.root, bucket)
	_, err := s.storer.RetrieveAttribute(nil, bucket, "", "acl")
	switch {
	case err == nil:
		return nil
	case errors.Is(err, meta.ErrNoSuchKey):
		// Killed while creating it, the directory is there and empty. Otherwise its metadata was lost on the way.
		if rerr := os.Remove(dir); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return fmt.Errorf("bucket directory %s has objects but no metadata: it was copied without extended attributes;"+
				" copy it again with cp -a or rsync -X", dir)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("bucket directory %s: %w", dir, err)
	}
	acl, err := json.Marshal(auth.ACL{Owner: owner})
	if err != nil {
		return fmt.Errorf("create bucket %s: %w", bucket, err)
	}
	in := &s3.CreateBucketInput{
		Bucket:                    &bucket,
		ObjectOwnership:           types.ObjectOwnershipBucketOwnerEnforced,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{},
	}
	if err := s.CreateBucket(ctx, in, acl); err != nil {
		return fmt.Errorf("create bucket %s: %w", bucket, err)
	}
	return nil
}

// inProgress ends the name the backend gives to an upload's directory while it joins the parts.
const inProgress = ".inprogress"

// recoverUploads undoes the marks of CompleteMultipartUploads that were killed. The backend does not: it would answer a
// repeated completion with success, though there is no object and never will be. It returns how many it found.
func (s *store) recoverUploads() (int, error) {
	marked, err := filepath.Glob(filepath.Join(s.root, "*", posix.MetaTmpMultipartDir, "*", "*"+inProgress))
	if err != nil {
		return 0, fmt.Errorf("look for interrupted uploads: %w", err)
	}
	for _, dir := range marked {
		if err := s.recoverUpload(dir); err != nil {
			return 0, fmt.Errorf("recover upload %s: %w", dir, err)
		}
	}
	return len(marked), nil
}

// recoverUpload makes the upload in dir, <id>.<etag>.inprogress, open again; or removes it if the object had got its name
// before the kill, in which case some of the parts may be gone.
func (s *store) recoverUpload(dir string) error {
	rel, err := filepath.Rel(s.root, dir)
	if err != nil {
		return err
	}
	bucket, object, _ := strings.Cut(rel, string(filepath.Separator))
	id, _, _ := strings.Cut(filepath.Base(dir), ".")
	parent := filepath.Dir(object)
	key, err := s.storer.RetrieveAttribute(nil, bucket, parent, "objname")
	if err != nil {
		return err
	}
	made, err := s.madeBy(bucket, string(key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, meta.ErrNoSuchKey) {
		return err
	}
	if made == id {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := s.storer.DeleteAttributes(bucket, object); err != nil {
			return err
		}
		return s.publish(bucket, string(key))
	}
	open := filepath.Join(parent, id)
	if err := os.Rename(dir, filepath.Join(s.root, bucket, open)); err != nil {
		return err
	}
	if err := s.storer.RenameObject(bucket, object, open); err != nil {
		return err
	}
	return s.publishUpload(bucket, string(key), id)
}

// madeBy returns the id of the upload that an object was made by; fs.ErrNotExist or meta.ErrNoSuchKey if it is missing or
// was made otherwise.
func (s *store) madeBy(bucket, key string) (id string, err error) {
	b, err := s.storer.RetrieveAttribute(nil, bucket, key, partsAttribute)
	if err != nil {
		return "", err
	}
	m, err := backend.UnmarshalMpUploadMetadata(b, false)
	return m.UploadID, err
}
