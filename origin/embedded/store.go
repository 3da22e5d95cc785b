package embedded

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

const (
	// maxActive is how many backend operations run at once: each may hold a thread while the disk works.
	maxActive = 1024
	maxCopy   = 5 << 30 // bytes, the largest object CopyObject accepts: S3's own limit
)

// store is the POSIX backend with durability, and with the bucket's policy fixed. It overrides the operations that create or
// remove names; all others are the backend's.
//
// Order in every write: the data is in a file without a name (or under a temporary one) and is synced; the file gets its name,
// atomically; file and directory are synced; the answer is sent. If the machine stops before the name is durable, the
// old object is still there; after it, the new one is whole.
type store struct {
	*posix.Posix
	root     string // absolute path of the directory of buckets
	kind     kind
	sidecar  string // absolute path of the sidecar files
	storer   meta.MetadataStorer
	policies map[string][]byte // by bucket; immutable
	fsync    func(path string) error
	syncFile func(*os.File) error
	dirs     *durableDirs
	active   chan struct{}
	started  time.Time // of this process, by the wall clock, as are the names of temporary files

	seed  maphash.Seed
	locks [256]sync.RWMutex // see replacing

	mu         sync.Mutex
	completing map[string]*completion // by upload id
}

// newStore opens the backend on root/s3. It changes the working directory of the process.
func newStore(root string, policies map[string][]byte, started time.Time) (*store, error) {
	k, storer, err := openMetadata(root)
	if err != nil {
		return nil, err
	}
	s := &store{
		root:       filepath.Join(root, "s3"),
		kind:       k,
		sidecar:    filepath.Join(root, "meta"),
		storer:     storer,
		policies:   policies,
		fsync:      syncPath,
		syncFile:   (*os.File).Sync,
		active:     make(chan struct{}, maxActive),
		started:    started,
		seed:       maphash.MakeSeed(),
		completing: make(map[string]*completion),
	}
	s.dirs = newDurableDirs(func(path string) error { return s.fsync(path) })
	opts := posix.PosixOpts{
		Concurrency:         maxActive,
		CopyObjectThreshold: maxCopy, // unset, it would refuse every copy
		ForceNoObjLockFile:  true,    // one process serves the directory, see openRoot
		ValidateBucketNames: true,
	}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	if k == inSidecar {
		opts.SideCarDir = s.sidecar
	}
	s.Posix, err = posix.New(s.root, storer, opts)
	if err != nil {
		return nil, fmt.Errorf("storage directory %s: %w", root, err)
	}
	return s, nil
}

// enter waits for a free place among the active operations.
func (s *store) enter() (leave func()) {
	s.active <- struct{}{}
	return func() { <-s.active }
}

// toTheEnd returns a context that does not end. The server's contexts all end when it is told to stop, and the backend
// would give up the requests under way, which are to be finished.
func toTheEnd(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// replacing returns the lock of an object. The backend reads an object's ETag and then opens its file, and it writes an object's
// metadata and then gives the file its name: without the lock, a get that is overtaken by a put would send the ETag of one with the
// bytes of the other. Objects share locks; each is held for some file system calls, never while data moves.
func (s *store) replacing(bucket, key string) *sync.RWMutex {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(bucket)
	h.WriteByte('/')
	h.WriteString(key)
	return &s.locks[h.Sum64()%uint64(len(s.locks))]
}

// commit runs write, which calls lock when all data is there and the object is about to be replaced.
func (s *store) commit(bucket, key string, write func(lock func()) error) error {
	l, locked := s.replacing(bucket, key), false
	defer func() {
		if locked {
			l.Unlock()
		}
	}()
	return write(func() { l.Lock(); locked = true })
}

// publish makes an object that just got its name durable: the file, for the attributes it was given last, and its name.
func (s *store) publish(bucket, key string) error {
	path := filepath.Join(s.root, bucket, key)
	if err := s.fsync(path); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := s.dirs.publish(s.root, path); err != nil {
		return fmt.Errorf("sync the name %s: %w", path, err)
	}
	return s.publishSidecar(bucket, key)
}

func (s *store) publishSidecar(bucket, key string) error {
	if s.kind != inSidecar {
		return nil
	}
	dir := filepath.Join(s.sidecar, bucket, key, "meta")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sync metadata %s: %w", dir, err)
	}
	for _, e := range entries {
		if err := s.fsync(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("sync metadata %s: %w", dir, err)
		}
	}
	if err := s.dirs.publish(s.sidecar, filepath.Join(dir, "x")); err != nil {
		return fmt.Errorf("sync metadata %s: %w", dir, err)
	}
	return nil
}

// PutObject stores an object durably.
func (s *store) PutObject(ctx context.Context, in s3response.PutObjectInput) (out s3response.PutObjectOutput, err error) {
	defer s.enter()()
	ctx = toTheEnd(ctx)
	err = s.commit(*in.Bucket, *in.Key, func(lock func()) (err error) {
		out, err = s.Posix.PutObjectWithPostFunc(ctx, in, func(f *os.File) error {
			defer lock()
			return s.syncFile(f)
		})
		if err == nil && s.kind == inSidecar {
			s.storer.DeleteAttribute(*in.Bucket, *in.Key, partsAttribute) // of an upload it replaced, or there is none
		}
		return err
	})
	if err != nil {
		return out, err
	}
	return out, s.publish(*in.Bucket, *in.Key)
}

// CopyObject copies an object durably. Perigee never copies; other S3 tools do.
func (s *store) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	out, err := s.Posix.CopyObject(toTheEnd(ctx), in)
	if err != nil {
		return out, err
	}
	return out, s.publish(*in.Bucket, *in.Key)
}

// GetObject opens an object.
func (s *store) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	l := s.replacing(*in.Bucket, *in.Key)
	l.RLock()
	defer l.RUnlock()
	return s.Posix.GetObject(toTheEnd(ctx), in)
}

// HeadObject describes an object.
func (s *store) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	l := s.replacing(*in.Bucket, *in.Key)
	l.RLock()
	defer l.RUnlock()
	return s.Posix.HeadObject(toTheEnd(ctx), in)
}

// DeleteObject removes an object durably.
func (s *store) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (out *s3.DeleteObjectOutput, err error) {
	err = s.removing(*in.Bucket, *in.Key, func() error {
		out, err = s.Posix.DeleteObject(toTheEnd(ctx), in)
		return err
	})
	return out, err
}

// DeleteObjects removes several objects, each as DeleteObject does.
func (s *store) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	var res s3response.DeleteResult
	for _, o := range in.Delete.Objects {
		_, err := s.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: o.Key, VersionId: o.VersionId})
		if err != nil {
			res.Error = append(res.Error, s3err.ObjectDeleteError(o.Key, o.VersionId, err))
			continue
		}
		res.Deleted = append(res.Deleted, types.DeletedObject{Key: o.Key, VersionId: o.VersionId})
	}
	return res, nil
}

// removing runs f, which removes an object, and makes that durable in the nearest directory that is left.
func (s *store) removing(bucket, key string, f func() error) error {
	path := filepath.Join(s.root, bucket, key)
	err := s.dirs.remove(s.root, path, func() error {
		return s.dirs.remove(s.sidecar, filepath.Join(s.sidecar, bucket, key, "meta", "x"), f)
	})
	if err != nil {
		return err
	}
	for dir := filepath.Dir(path); len(dir) >= len(s.root); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			return s.fsync(dir)
		}
	}
	return nil
}

// GetBucketPolicy returns the policy that the configuration laid down.
func (s *store) GetBucketPolicy(_ context.Context, bucket string) ([]byte, error) {
	if p, ok := s.policies[bucket]; ok {
		return p, nil
	}
	return nil, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)
}

// PutBucketPolicy is refused: rights come from the configuration alone.
func (s *store) PutBucketPolicy(context.Context, string, []byte) error {
	return s3err.GetAPIError(s3err.ErrNotImplemented)
}

// DeleteBucketPolicy is refused: rights come from the configuration alone.
func (s *store) DeleteBucketPolicy(context.Context, string) error {
	return s3err.GetAPIError(s3err.ErrNotImplemented)
}

// CreateBucket creates a bucket durably.
func (s *store) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	if err := s.Posix.CreateBucket(ctx, in, acl); err != nil {
		return err
	}
	return errors.Join(s.fsync(filepath.Join(s.root, *in.Bucket)), s.fsync(s.root), s.publishSidecar(*in.Bucket, ""))
}

var _ backend.Backend = (*store)(nil)
