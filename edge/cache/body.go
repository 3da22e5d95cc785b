package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"perigee/edge/cache/store"
	"perigee/object"
)

// maxBlob is the size of the largest blob that is believed in. Beyond it sums of sizes could overflow.
const maxBlob = object.MaxSize

// checkedRead is the size of a chunk up to which it is read and checked as a whole each time; a larger one is sent from the segment's file.
const checkedRead = 256 << 10

// Body gives the verified bytes of one blob to one reader. It is not safe for concurrent use. Close it.
//
// Each chunk comes from where it is at that moment: the disk, or a fill, which it then joins or starts. A disk that fails or has damaged bytes is
// left at the chunk that it failed in; the reader does not notice.
type Body struct {
	e      *Engine
	p      *object.Pointer
	r      object.Range
	id     blobID
	piece  piece
	flight *flight         // nil as long as nothing was missing
	stuck  int             // records that failed one after the other without a byte sent
	lent   []*store.Record // whose bytes went out by reference to their files, the last of them
	isLent bool            // there was one
	// What became of the chunks primed so far.
	led, joined, healed bool
	some                bool   // some of the bytes were held at the beginning
	why                 Reason // why the store did not take one; "" if it took them all
}

// piece is a chunk at hand, in one of three forms: bytes of memory that stay, bytes in a buffer to give back, or a record of the store.
type piece struct {
	i       int64 // the chunk; -1 for none
	data    []byte
	buf     *buffer
	scratch *[]byte
	rec     *store.Record
}

var scratches = sync.Pool{New: func() any { b := make([]byte, 0, checkedRead+4096); return &b }}

func (c *piece) letGo() {
	if c.buf != nil {
		c.buf.release()
	}
	if c.scratch != nil {
		scratches.Put(c.scratch)
	}
	if c.rec != nil {
		c.rec.Close()
	}
	*c = piece{i: -1}
}

// SendFiler is a writer to which a section of a file can be given without reading it, as sendfile(2) does. What it returns is what io.Copy
// would; io.ErrUnexpectedEOF says that the file is too short.
type SendFiler interface {
	SendFile(f *os.File, off, n int64) (int64, error)
}

// Locate finds the bytes r of p's blob, or begins to fetch them. When it returns without an error the first chunk of r is
// verified and at hand, so that a failure of the origin is known before an answer has begun. r is
// within the blob; for an empty blob it is not looked at.
func (e *Engine) Locate(ctx context.Context, p *object.Pointer, r object.Range) (*Body, Outcome, error) {
	b := &Body{e: e, p: p, r: r, id: idOf(p), piece: piece{i: -1}}
	if p.Size > maxBlob {
		return nil, Outcome{Fwd: FwdMiss, Reason: ReasonOriginBad}, errCorrupt
	}
	if p.Size == 0 {
		if !p.Object() && p.Hash != object.HashOf(nil) {
			return nil, Outcome{Fwd: FwdMiss, Reason: ReasonOriginBad}, errCorrupt
		}
		b.piece = piece{data: []byte{}}
		return b, Outcome{Reason: ReasonRAM}, nil
	}
	if b.fromMemory() {
		return b, Outcome{Reason: ReasonRAM}, nil
	}
	o, some := e.holds(b.id, r)
	b.some = some
	err := b.prime(ctx, r.Start/object.ChunkSize)
	if err != nil {
		b.Close()
		o.Stored, o.Reason = false, originReason(err)
		if o.Fwd == NotForwarded {
			o.Fwd = FwdMiss
		}
		return nil, o, err
	}
	return b, b.outcome(o), nil
}

// outcome corrects what was expected from the index alone by what priming the first chunk has met.
func (b *Body) outcome(o Outcome) Outcome {
	switch {
	case b.healed:
		o = Outcome{Fwd: FwdMiss, Reason: ReasonHealed, Stored: true}
	case b.led && b.some: // what seemed to be on its way had just come to its end
		o = Outcome{Fwd: FwdPartial, Reason: ReasonPartlyHeld, Stored: true}
	case b.led && o.Fwd != FwdPartial:
		o = Outcome{Fwd: FwdMiss, Reason: ReasonNotHeld, Stored: true}
	case b.joined && !b.led:
		o = Outcome{Fwd: FwdMiss, Reason: ReasonFilling, Collapsed: true}
	}
	if b.why != "" {
		o.Reason, o.Stored = b.why, false
	}
	return o
}

// lookAhead bounds how many chunks of a range are looked up before the answer begins, some 50 ns each: 1 GiB.
const lookAhead = 1024

// holds says from the index what the range r of a blob would meet: a hit on disk, a part of it, a fill, or nothing.
func (e *Engine) holds(id blobID, r object.Range) (o Outcome, some bool) {
	first, last := r.Start/object.ChunkSize, (r.Start+r.Length-1)/object.ChunkSize
	last = min(last, first+lookAhead-1)
	held := int64(0)
	for i := first; i <= last; i++ {
		if _, ok := e.store.Find(id.key(uint64(i))); ok {
			held++
		}
	}
	switch {
	case held == last-first+1:
		return Outcome{Reason: ReasonDisk}, true
	case e.filling(id):
		return Outcome{Fwd: FwdMiss, Reason: ReasonFilling, Collapsed: true}, held > 0
	case held > 0:
		return Outcome{Fwd: FwdPartial, Reason: ReasonPartlyHeld, Stored: true}, true
	}
	return Outcome{Fwd: FwdMiss, Reason: ReasonNotHeld, Stored: true}, false
}

// Held reports what Locate would find for the whole of p's blob, without starting anything.
func (e *Engine) Held(p *object.Pointer) Outcome {
	if p.Size == 0 || e.prepared(p) {
		return Outcome{Reason: ReasonRAM}
	}
	o, _ := e.holds(idOf(p), object.Range{Length: p.Size})
	o.Stored = false
	return o
}

// fromMemory takes the blob from the prepared answers, if it is there.
func (b *Body) fromMemory() bool {
	if b.p.Size > maxPrepared {
		return false
	}
	v, ok := b.e.recallPrepared(b.p)
	if !ok {
		return false
	}
	defer v.Release()
	s := scratches.Get().(*[]byte)
	*s = append((*s)[:0], v.Body()...)
	b.piece = piece{data: *s, scratch: s}
	return true
}

// maxAttempts is how often a chunk that turns out damaged, or is evicted between being found and being read, is looked for on disk; after
// that the reader is given the bytes themselves by the fill.
const maxAttempts = 2

// prime returns when chunk i is verified and at hand.
func (b *Body) prime(ctx context.Context, i int64) error {
	if b.piece.i == i {
		return nil
	}
	b.piece.letGo()
	for attempt := 0; ; attempt++ {
		bytes := attempt >= maxAttempts
		if !bytes && b.fromDisk(i) {
			return nil
		}
		if b.flight == nil {
			b.flight = b.e.flightOf(b.p)
		}
		end := (b.r.Start+b.r.Length-1)/object.ChunkSize + 1
		d, led := b.flight.want(ctx, i, end, bytes)
		b.led = b.led || led
		b.joined = b.joined || !led
		if d.why != "" {
			b.why = d.why
		}
		if d.err != nil {
			return d.err
		}
		if d.buf != nil {
			b.piece = piece{i: i, data: d.buf.data, buf: d.buf}
			return nil
		}
	}
}

// fromDisk takes chunk i from the store, if it is there and undamaged.
func (b *Body) fromDisk(i int64) bool {
	key := b.id.key(uint64(i))
	ref, ok := b.e.store.Find(key)
	if !ok {
		return false
	}
	_, n := object.ChunkSpan(i, b.p.Size)
	err := b.read(key, ref, i, n)
	switch {
	case err == nil:
		b.e.store.Touch(key)
		return true
	case errors.Is(err, errForeign):
		b.e.store.Drop(key, ref)
	case !errors.Is(err, fs.ErrNotExist):
		b.spoilt(i, err)
	}
	return false
}

// read makes the record at ref the piece at hand.
func (b *Body) read(key store.Key, ref store.Ref, i, n int64) error {
	var room [maxLabel]byte
	label := b.id.label(room[:0], uint64(i))
	if n > checkedRead {
		rec, err := b.e.store.Open(key, ref)
		if err != nil {
			return err
		}
		if string(rec.Meta()) != string(label) || rec.Size() != n {
			rec.Close()
			return errForeign
		}
		b.piece = piece{i: i, rec: rec}
		return nil
	}
	s := scratches.Get().(*[]byte)
	rec, err := b.e.store.Read(key, ref, (*s)[:cap(*s)])
	if err == nil && (string(rec.Meta) != string(label) || int64(len(rec.Body)) != n) {
		err = errForeign
	}
	if err != nil {
		scratches.Put(s)
		return err
	}
	*s = rec.Buf
	b.piece = piece{i: i, data: rec.Body, scratch: s}
	return nil
}

// spoilt notes that the disk did not give chunk i back.
func (b *Body) spoilt(i int64, err error) {
	b.healed = true
	b.e.countDisk(err)
	b.e.log.Warn("a cached chunk is unusable and is fetched again", "site", b.p.Site, "path", b.p.Path, "chunk", i, "err", err)
}

// Copy writes the bytes of the range given to Locate to w and returns how many it wrote. Only verified bytes are written; if w is
// a SendFiler, large chunks go by it. An error of w is returned as it is; any other error means that the rest cannot be had.
func (b *Body) Copy(ctx context.Context, w io.Writer) (int64, error) {
	at, end := b.r.Start, b.r.Start+b.r.Length
	if b.p.Size == 0 {
		end = at
	}
	for at < end {
		i := at / object.ChunkSize
		if b.flight != nil {
			b.flight.reach(i)
		}
		if err := b.prime(ctx, i); err != nil {
			return at - b.r.Start, fmt.Errorf("serve %s%s: %w", b.p.Site, b.p.Path, err)
		}
		to := min(end, (i+1)*object.ChunkSize)
		if to == end { // the client must not get the last bytes of what is wrong before them
			if err := b.checkLent(); err != nil {
				return at - b.r.Start, err
			}
		}
		n, err := b.copyPiece(w, at, to)
		at += n
		if n > 0 {
			b.stuck = 0
		} else if err == nil && b.stuck >= maxStuck {
			err = errStuck
		}
		if err != nil {
			return at - b.r.Start, err
		}
	}
	return at - b.r.Start, b.checkLent()
}

// Whole returns the whole blob if it is at hand in memory, as that of a small blob is after Locate of all of it. Valid until Close.
func (b *Body) Whole() ([]byte, bool) {
	whole := b.piece.data != nil && int64(len(b.piece.data)) == b.p.Size
	return b.piece.data, whole
}

// copyPiece writes bytes from to to of the blob, which are of the chunk at hand.
func (b *Body) copyPiece(w io.Writer, from, to int64) (int64, error) {
	off := b.piece.i * object.ChunkSize
	if b.piece.rec == nil {
		n, err := w.Write(b.piece.data[from-off : to-off])
		return int64(n), err
	}
	if s, ok := w.(SendFiler); ok {
		return b.sendRecord(s, from-off, to-off)
	}
	return b.copyRecord(w, from-off, to-off)
}

// sendRecord sends bytes from to to of the record at hand. A file that fails is not the reader's affair as long as nothing was sent of any: the chunk is
// given up, and the caller comes back for it. Later it ends the answer: the kernel sends pages of the file itself, and those that it still has may have been
// changed by what cut the file.
func (b *Body) sendRecord(w SendFiler, from, to int64) (int64, error) {
	rec := b.piece.rec
	n, err := w.SendFile(rec.File(), rec.Offset()+from, to-from)
	b.isLent = b.isLent || n > 0
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && !rec.Intact() {
		b.abandon(errHarmed)
		if b.isLent {
			return n, errHarmed
		}
		return n, nil
	}
	if err == nil {
		return n, b.lend()
	}
	if errors.Is(err, syscall.EIO) {
		b.abandon(err)
		return n, nil
	}
	return n, err
}

var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// copyRecord is sendRecord by reading and writing.
func (b *Body) copyRecord(w io.Writer, from, to int64) (int64, error) {
	buf := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(buf)
	at := from
	for at < to {
		n, err := b.piece.rec.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
		if err == nil && !b.piece.rec.Intact() {
			n, err = 0, errHarmed
		}
		if n == 0 && err != nil {
			b.abandon(err)
			return at - from, nil
		}
		m, err := w.Write(buf[:n])
		at += int64(m)
		if err != nil {
			return at - from, err
		}
	}
	return at - from, nil
}

// maxStuck is how many records in a row may fail while they are sent before the answer is given up.
const maxStuck = 4

var errStuck = errors.New("the cache disk gives nothing back")

// abandon forgets the record at hand, whose file failed while it was being sent.
func (b *Body) abandon(err error) {
	i := b.piece.i
	key := b.id.key(uint64(i))
	if ref, ok := b.e.store.Find(key); ok {
		b.e.store.Drop(key, ref)
	}
	b.spoilt(i, err)
	b.stuck++
	b.piece.letGo()
}

// Close lets go of buffers, files and fills.
func (b *Body) Close() {
	b.piece.letGo()
	for _, r := range b.lent {
		r.Close()
	}
	b.lent = nil
	if b.flight != nil {
		b.flight.leave()
		b.flight = nil
	}
}
