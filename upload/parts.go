package upload

import (
	"context"
	"io"

	"golang.org/x/sync/semaphore"

	"perigee/object"
	"perigee/origin"
)

// hold is memory that one request has of Config.Memory.
type hold struct {
	of    *semaphore.Weighted
	bytes int64
}

// hold waits until n bytes may be held. A request asks once before it holds anything, so requests cannot wait for one
// another in a circle; more memory is only ever tried for (more).
func (p *Publisher) hold(ctx context.Context, n int64) (*hold, error) {
	n = min(n, p.cfg.Memory)
	if err := p.memory.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return &hold{of: p.memory, bytes: n}, nil
}

// more takes n bytes more if they are free now.
func (h *hold) more(n int64) bool {
	if !h.of.TryAcquire(n) {
		return false
	}
	h.bytes += n
	return true
}

func (h *hold) release() {
	h.of.Release(h.bytes)
	h.bytes = 0
}

// parts cuts a stream into parts of a multipart upload and stores them, a few at a time, while the next one fills. stored
// grows in the order of the parts. Make one with newParts, end it with close. It is not safe for concurrent use.
type parts struct {
	p         *Publisher
	ctx       context.Context
	cancel    context.CancelFunc
	key       object.Key
	multipart string // made when the first part is sent
	size      int
	hold      *hold

	// stored are the parts the bucket has, from the first without a gap.
	stored []origin.Part
	// onSend, if set, is called before a part is sent; what it returns, unless nil, is called when stored includes it.
	onSend func() (onStored func() error)

	buf     []byte // being filled
	free    [][]byte
	buffers int // all that exist: buf, free, in flight
	flight  []*flight
	sent    int
}

// flight is a part on its way.
type flight struct {
	buf      []byte
	onStored func() error
	done     chan struct{}
	part     origin.Part
	err      error
}

func (p *Publisher) newParts(ctx context.Context, id object.UploadID, size int, hold *hold) *parts {
	ctx, cancel := context.WithCancel(ctx)
	return &parts{p: p, ctx: ctx, cancel: cancel, key: object.UploadKey(id), size: size, hold: hold}
}

// adopt makes b, whose memory the request holds already and whose capacity is a part's, the part that is being filled.
func (q *parts) adopt(b []byte) {
	q.buf, q.buffers = b, 1
}

// readFrom reads once from r, at most n bytes, into the part that is being filled, and adds them to h. A part that is
// full is sent first. It returns io.EOF at r's end; other errors of r are *BodyError.
func (q *parts) readFrom(r io.Reader, n int64, h *object.Hasher) (int, error) {
	if len(q.buf) == q.size {
		if err := q.send(); err != nil {
			return 0, err
		}
	}
	if err := q.room(); err != nil {
		return 0, err
	}
	to := q.buf[len(q.buf):min(int64(q.size), int64(len(q.buf))+n)]
	k, err := r.Read(to)
	h.Write(to[:k])
	q.buf = q.buf[:len(q.buf)+k]
	if err != nil && err != io.EOF {
		err = &BodyError{err}
	}
	return k, err
}

// last returns the n bytes that were read last.
func (q *parts) last(n int) []byte { return q.buf[len(q.buf)-n:] }

// room makes sure that there is a buffer to fill.
func (q *parts) room() error {
	if q.buf != nil {
		return nil
	}
	for len(q.free) == 0 {
		if q.buffers == 0 || len(q.flight) < partsInFlight && q.hold.more(int64(q.size)) {
			q.buffers++
			q.free = append(q.free, q.p.buffers.take(q.size))
			break
		}
		if err := q.land(); err != nil {
			return err
		}
	}
	q.buf, q.free = q.free[len(q.free)-1], q.free[:len(q.free)-1]
	return nil
}

// send puts the filled part on its way.
func (q *parts) send() error {
	for len(q.flight) >= partsInFlight {
		if err := q.land(); err != nil {
			return err
		}
	}
	if q.multipart == "" {
		err := q.p.patiently(q.ctx, func() (err error) {
			q.multipart, err = q.p.cfg.Writer.Create(q.ctx, q.key, "")
			return err
		})
		if err != nil {
			return err
		}
		q.p.at(afterCreate)
	}
	q.sent++
	f := &flight{buf: q.buf, done: make(chan struct{})}
	if q.onSend != nil {
		f.onStored = q.onSend()
	}
	q.buf = nil
	q.flight = append(q.flight, f)
	number := q.sent
	go func() {
		defer close(f.done)
		f.err = q.p.patiently(q.ctx, func() (err error) {
			f.part, err = q.p.cfg.Writer.Part(q.ctx, q.key, q.multipart, number, f.buf)
			return err
		})
	}()
	return nil
}

// land waits for the oldest part that is on its way.
func (q *parts) land() error {
	f := q.flight[0]
	<-f.done
	q.flight = q.flight[1:]
	q.free = append(q.free, f.buf[:0])
	if f.err != nil {
		return vanished(f.err)
	}
	q.stored = append(q.stored, f.part)
	q.p.at(afterPart)
	if f.onStored != nil {
		return f.onStored()
	}
	return nil
}

// settle waits for all parts that are on their way.
func (q *parts) settle() error {
	for len(q.flight) > 0 {
		if err := q.land(); err != nil {
			return err
		}
	}
	return nil
}

// finish sends what is left as the last part and waits for all.
func (q *parts) finish() error {
	if len(q.buf) > 0 {
		if err := q.send(); err != nil {
			return err
		}
	}
	return q.settle()
}

// close ends what is still on its way, and waits for it. The buffers are others' from then on: a Writer reads nothing after it has returned.
func (q *parts) close() {
	q.cancel()
	for _, f := range q.flight {
		<-f.done
		q.free = append(q.free, f.buf)
	}
	for _, b := range append(q.free, q.buf) {
		q.p.buffers.give(b)
	}
	q.buf = nil
	q.flight, q.free = nil, nil
}
