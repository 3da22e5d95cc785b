package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"
	"time"

	"perigee/catalog"
)

// carryOut lets a request through and keeps its answer.
func (k *Keeper) carryOut(w http.ResponseWriter, r *http.Request, next http.Handler, once catalog.Once) {
	var instead []byte
	ctx := context.WithValue(r.Context(), insteadKey{}, &instead)
	actor := catalog.ActorOf(ctx)
	actor.Once = once.Series
	stop := k.renew(once)
	defer stop()

	body := newHashed(r.Body)
	r = r.WithContext(catalog.WithActor(ctx, actor))
	r.Body = body
	out := &kept{ResponseWriter: w}
	done := false
	defer func() {
		if !done { // the handler has panicked: it is for the server to say so
			k.drop(once)
		}
	}()
	next.ServeHTTP(out, r)
	done = true
	if !out.keep() || body.broken && out.status >= http.StatusBadRequest {
		k.drop(once) // what was refused because it did not come whole may come whole the next time
		return
	}
	a := catalog.Answer{Status: out.status, Body: string(out.body), BodyRead: body.read}
	a.BodyHash, a.BodyEnded = hex.EncodeToString(body.sum.Sum(nil)), body.ended
	if instead != nil {
		a.Body = string(instead)
	}
	header, err := json.Marshal(keptFields(out.Header()))
	a.Header = string(header)
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err = errors.Join(err, k.c.Store.FinishOnce(sctx, once, a)); err != nil {
		k.c.Log.Warn("an answer is not kept for a repetition of its request", "err", err)
	}
}

// renew keeps the record from counting as abandoned until stop is called, which waits.
func (k *Keeper) renew(once catalog.Once) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		t := k.c.Clock.NewTicker(catalog.OnceRenewal)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C():
			}
			if err := k.c.Store.RenewOnce(ctx, once); err != nil && ctx.Err() == nil {
				k.c.Log.Warn("an idempotency record could not be renewed", "err", err)
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (k *Keeper) drop(once catalog.Once) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if err := k.c.Store.DropOnce(ctx, once); err != nil {
		k.c.Log.Warn("an idempotency record could not be dropped; it ends by itself", "err", err)
	}
}

// again gives the kept answer, if the body is the one that the first request had.
func (k *Keeper) again(w http.ResponseWriter, r *http.Request, once catalog.Once) {
	a := once.Answer
	same, err := k.sameBody(w, r, a)
	switch {
	case err != nil:
		deny(w, http.StatusBadRequest, "incomplete", "The body broke off. Nothing was changed; send the request again.", 0)
		return
	case !same:
		deny(w, http.StatusUnprocessableEntity, "key-reused", errReused, 0)
		return
	}
	var fields http.Header
	if err := json.Unmarshal([]byte(a.Header), &fields); err != nil {
		k.c.Log.Error("a kept answer cannot be read", "err", err)
	}
	h := w.Header()
	for name, v := range fields {
		h[name] = v
	}
	h.Set(replayed, "true")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(a.Status)
	io.WriteString(w, a.Body) // the client may be gone; there is nobody left to tell
}

// readTime is how long a repetition's body may be silent.
const readTime = time.Minute

// sameBody reports whether a request's body is the one that was read when the answer was made, as far as it was read.
func (k *Keeper) sameBody(w http.ResponseWriter, r *http.Request, a catalog.Answer) (bool, error) {
	body := newHashed(r.Body)
	rc := http.NewResponseController(w)
	defer rc.SetReadDeadline(time.Time{}) // a connection without deadlines is read without
	buf := make([]byte, 64<<10)
	for body.read < a.BodyRead || a.BodyEnded && !body.ended {
		_ = rc.SetReadDeadline(k.c.Clock.Now().Add(readTime))
		_, err := body.Read(buf[:min(int64(len(buf)), max(1, a.BodyRead-body.read))])
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
		if body.read > a.BodyRead {
			return false, nil
		}
	}
	return body.read == a.BodyRead && hex.EncodeToString(body.sum.Sum(nil)) == a.BodyHash, nil
}

// lost tells that the request has taken effect, and which.
func (k *Keeper) lost(w http.ResponseWriter, r *http.Request, once catalog.Once) {
	detail := "The first request with this idempotency key took effect, but its answer was lost when the server stopped. It is not carried out again; look at what it was about."
	if e, err := k.c.Store.AuditEntry(r.Context(), once.Effect); err == nil {
		detail = "The first request with this idempotency key took effect, but its answer was lost when the server stopped: " +
			string(e.Action) + " " + string(e.Site) + " " + e.Object + " " + e.Detail + " (audit entry " + e.ID + "). It is not carried out again."
	}
	deny(w, http.StatusConflict, "answer-lost", detail, 0)
}

// hashed is a body that is hashed while it is read.
type hashed struct {
	io.ReadCloser
	sum   hash.Hash
	read  int64
	ended bool
	// broken says that the body broke off.
	broken bool
}

func newHashed(body io.ReadCloser) *hashed {
	if body == nil {
		body = http.NoBody
	}
	return &hashed{ReadCloser: body, sum: sha256.New()}
}

// Read implements io.Reader.
func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.sum.Write(p[:n])
	h.read += int64(n)
	h.ended = h.ended || err == io.EOF
	h.broken = h.broken || err != nil && err != io.EOF
	return n, err
}

// kept is an answer that is also kept.
type kept struct {
	http.ResponseWriter
	status int
	body   []byte
	large  bool
}

// WriteHeader implements http.ResponseWriter.
func (k *kept) WriteHeader(status int) {
	if k.status == 0 && status >= 200 {
		k.status = status
	}
	k.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (k *kept) Write(p []byte) (int, error) {
	if k.status == 0 {
		k.status = http.StatusOK
	}
	if k.large = k.large || len(k.body)+len(p) > maxAnswer; !k.large {
		k.body = append(k.body, p...)
	}
	return k.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (k *kept) Unwrap() http.ResponseWriter { return k.ResponseWriter }

// keep reports whether the answer is one to be given again.
func (k *kept) keep() bool {
	switch k.status {
	case 0, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusConflict, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return k.status < 500 && !k.large
}

// keptFields are the fields of an answer that are given again. What a client has seen of the catalogue is one of them: who lost the answer to a change has to read
// that change as well.
func keptFields(h http.Header) http.Header {
	out := http.Header{}
	for _, name := range []string{"Content-Type", "ETag", "Location", "X-Request-Id", "Perigee-Consistency"} {
		if v := h.Values(name); len(v) > 0 {
			out[http.CanonicalHeaderKey(name)] = v
		}
	}
	return out
}
