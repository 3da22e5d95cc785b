package client

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// store sends one part to its URL, once. Neither the URL nor what it was signed with is in its errors.
func (d *directing) store(ctx context.Context, u DirectURL, from, size int64) error {
	if u.Size != size {
		return fmt.Errorf("the server wants %d bytes of part %d, which has %d", u.Size, u.Number, size)
	}
	body := &piece{r: io.NewSectionReader(d.body, from, size), size: size, sent: d.o.Sent}
	defer body.giveBack()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.URL, body)
	if err != nil {
		return fmt.Errorf("the server gives a URL for part %d that is none", u.Number)
	}
	req.ContentLength = size
	res, err := d.c.http.Do(req)
	if err != nil {
		body.takeBack()
		return d.unstored(ctx, req.URL.Host, body, err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what cannot be read says nothing
	if res.StatusCode/100 == 2 {
		return nil
	}
	body.takeBack()
	e := &storageError{host: req.URL.Host, number: u.Number, status: res.StatusCode}
	_ = xml.Unmarshal(b, e) // a proxy between says nothing we can read
	return e
}

// unstored is the error of a part that had no answer.
func (d *directing) unstored(ctx context.Context, host string, body *piece, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if rerr := body.failure(); rerr != nil {
		return fmt.Errorf("read the file: %w", rerr)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	return &storageError{host: host, err: err}
}

// storageError is a part that the storage has not taken.
type storageError struct {
	host    string
	number  int
	status  int   // 0 if there was no answer
	err     error // then why
	Code    string
	Message string
}

func (e *storageError) Error() string {
	switch {
	case e.err != nil:
		return fmt.Sprintf("no answer from the storage at %s, the address that the server gives as storage.public_endpoint: %v", e.host, e.err)
	case e.Code != "":
		return fmt.Sprintf("the storage at %s did not take part %d: %s: %s (HTTP %d)", e.host, e.number, e.Code, e.Message, e.status)
	}
	return fmt.Sprintf("the storage at %s did not take part %d (HTTP %d)", e.host, e.number, e.status)
}

func (e *storageError) Unwrap() error { return e.err }

// temporary reports whether the part may be taken a little later.
func (e *storageError) temporary() bool {
	switch e.status {
	case 0, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return e.status >= 500
}

// piece is the body of a part: it is the caller's again when the part is over, and tells how far it is.
type piece struct {
	mu   sync.Mutex
	r    io.Reader // nil when it was given back
	size int64     // bytes
	sent func(int64)
	n    int64
	err  error // of reading
}

// Read implements io.Reader.
func (p *piece) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r == nil {
		return 0, io.ErrClosedPipe
	}
	n, err := p.r.Read(b)
	p.n += int64(n)
	switch {
	case err == io.EOF && p.n < p.size:
		p.err = errors.New("it has become shorter")
	case err != nil && err != io.EOF:
		p.err = err
	}
	if p.sent != nil && n > 0 {
		p.sent(int64(n))
	}
	return n, err
}

// giveBack ends reading; it waits for a Read that is under way.
func (p *piece) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r = nil
}

// takeBack says that what was sent is for nothing, and ends reading.
func (p *piece) takeBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.r = nil
	if p.sent != nil && p.n > 0 {
		p.sent(-p.n)
	}
	p.n = 0
}

func (p *piece) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
