package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"perigee/client"
	"perigee/problem"
)

// one publishes one file. The client tries again while the server or the way to it fails; here it is begun anew when that may help.
func (p *putter) one(ctx context.Context, f localFile) putResult {
	r := putResult{Source: f.name}
	for try := 1; ; try++ {
		file, status, err := p.attempt(ctx, f)
		if err == nil {
			p.trouble.Store(0)
			r.Status, r.File = status, &file
			return r
		}
		if try < p.Tries && ctx.Err() == nil && renewable(err) {
			err = p.a.sleep(ctx, client.Retry{Pause: p.Pause}.After(try, err))
			if err == nil {
				continue
			}
		}
		switch {
		case errors.Is(err, problem.Kind("direct-off")):
			p.stop(fmt.Errorf("--direct: %w", err))
		case client.Temporary(err) && int(p.trouble.Add(1)) >= 2*p.Jobs:
			p.stop(errNoServer)
		}
		r.Status, r.Error = notDone, err.Error()
		return r
	}
}

// renewable reports whether it may help to publish a file from the beginning: it changed under our hands, or the server does not know whether it is published.
func renewable(err error) bool {
	for _, k := range []problem.Kind{"digest-mismatch", "incomplete", "unsettled"} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// resumableAbove is the size in bytes from which on a file goes by resumable upload: what has arrived need not be sent again.
const resumableAbove = 64 << 20

// attempt publishes a file, unless the catalogue has the same bytes at its path.
func (p *putter) attempt(ctx context.Context, f localFile) (client.File, outcome, error) {
	c, err := readContent(f.name)
	if err != nil {
		p.bar.fail(f.size)
		return client.File{}, "", err
	}
	defer c.close()
	if old, ok := p.known[f.path]; ok && old.SHA256 == c.hash && !p.Force {
		p.bar.done(f.size)
		return old, unchanged, nil
	}
	if p.DryRun {
		p.bar.done(f.size)
		return client.File{Site: p.to.site, Path: f.path, SHA256: c.hash, Size: c.size}, wouldPut, nil
	}
	body := &counted{r: c.open(), bar: p.bar}
	file, err := p.send(ctx, f, c, body)
	if errors.Is(err, problem.Kind("answer-lost")) { // the server says that it was made, and died before it could say what
		if now, gerr := p.client.Get(ctx, p.to.site, f.path); gerr == nil && now.SHA256 == c.hash {
			file, err = now, nil
		}
	}
	if err != nil {
		p.bar.sent(-body.total()) // it will be sent again, or not at all
		return client.File{}, "", err
	}
	if file.SHA256 != c.hash || file.Size != c.size {
		return client.File{}, "", fmt.Errorf("put %s: the server says it stored %d bytes with SHA-256 %s, which is not what was sent", f.path, file.Size, file.SHA256)
	}
	p.bar.sent(f.size - body.total())
	p.bar.file()
	return file, uploaded, nil
}

// send sends the content of a file. One that is empty has nothing to send straight to the storage.
func (p *putter) send(ctx context.Context, f localFile, c *content, body *counted) (client.File, error) {
	switch {
	case p.Direct && c.size > 0:
		return p.client.UploadDirect(ctx, p.to.site, f.path, body.r, c.size, client.DirectOptions{
			SHA256: c.hash, Tags: p.tags, CacheControl: p.CacheControl, Sent: body.sent,
		})
	case c.size > resumableAbove:
		return p.client.Upload(ctx, p.to.site, f.path, body, c.size, client.UploadOptions{SHA256: c.hash, Tags: p.tags, CacheControl: p.CacheControl})
	}
	file, _, err := p.client.Put(ctx, p.to.site, f.path, body, client.PutOptions{Size: c.size, SHA256: c.hash, Tags: p.tags, CacheControl: p.CacheControl})
	return file, err
}

// counted tells the bar how far it is read.
type counted struct {
	r   reader
	bar *progress
	n   atomic.Int64
}

// sent counts bytes that went out by another way than Read.
func (c *counted) sent(n int64) {
	c.n.Add(n)
	c.bar.sent(n)
}

func (c *counted) total() int64 { return c.n.Load() }

// Seek tells the bar, too: what is read again was not sent.
func (c *counted) Seek(offset int64, whence int) (int64, error) {
	at, err := c.r.Seek(offset, whence)
	if err == nil {
		c.sent(at - c.total())
	}
	return at, err
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.sent(int64(n))
	return n, err
}

var _ io.ReadSeeker = (*counted)(nil)
