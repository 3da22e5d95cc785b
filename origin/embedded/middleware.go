package embedded

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v3"

	"perigee/clock"
)

const (
	// maxDrain is how much of a request's body is read after the request was answered: more than any part we send.
	maxDrain = 64 << 20
	// maxNothing bounds, in bytes, the body of a request without content: a chunk of nothing, its signature and some trailers.
	maxNothing = 16 << 10
	// drainIdle is how long a client may pause meanwhile.
	drainIdle = 10 * time.Second
)

// finish reads what the client still sends of a request that was answered early, most often with a 412, and logs failures.
//
// Without it the connection is closed on a client that is still writing. The client then sees a connection reset instead of
// the answer and does not know whether its conditional write happened. The server has such a reader of its own, for
// 256 KiB; this one runs before it and takes what Perigee really sends.
func finish(log *slog.Logger, c clock.Clock) fiber.Handler {
	return func(ctx fiber.Ctx) error {
		if err := gather(ctx, c); err != nil {
			return err
		}
		err := ctx.Next()
		drain(ctx, c)
		if status := ctx.Response().StatusCode(); err != nil || status >= http.StatusInternalServerError {
			log.Error("storage request failed", "method", ctx.Method(), "path", ctx.Path(), "status", status, "err", err)
		}
		return err
	}
}

// chunked is what the server's library says of a body whose length is in its chunks only (RFC 9112 §7.1).
const chunked = -1

// gather reads the whole body of a request that says it has no content, and sends its signature in a chunked body: minio-go, mc. The server
// answers without reading all of it, and what arrives later would be the head of the next request on the connection.
func gather(ctx fiber.Ctx, c clock.Clock) error {
	body := ctx.Request().BodyStream()
	if body == nil || ctx.Request().Header.ContentLength() != chunked || ctx.Get("X-Amz-Decoded-Content-Length") != "0" {
		return nil
	}
	conn := ctx.RequestCtx().Conn()
	defer conn.SetReadDeadline(time.Time{})
	b, err := io.ReadAll(io.LimitReader(deadlineReader{body, conn, c}, maxNothing))
	if err == nil && len(b) == maxNothing {
		err = fiber.NewError(http.StatusBadRequest, "a body without content is longer than its signature can be")
	}
	if err != nil {
		ctx.Response().Header.SetConnectionClose()
		return err
	}
	ctx.Request().SetBodyStream(bytes.NewReader(b), len(b))
	return nil
}

func drain(ctx fiber.Ctx, c clock.Clock) {
	if ctx.Request().Header.ContentLength() == chunked {
		// One that was read to its end would wait for more, and one that was not must not be taken for the next request.
		ctx.Response().Header.SetConnectionClose()
		return
	}
	body := ctx.Request().BodyStream()
	if body == nil || ctx.Request().Header.ContentLength() <= 0 {
		return
	}
	conn := ctx.RequestCtx().Conn()
	defer conn.SetReadDeadline(time.Time{})
	rest := io.LimitReader(deadlineReader{body, conn, c}, maxDrain)
	if _, err := io.Copy(io.Discard, rest); err != nil {
		ctx.Response().Header.SetConnectionClose()
	}
}

// deadlineReader lets each read take drainIdle at most.
type deadlineReader struct {
	io.Reader
	conn  net.Conn
	clock clock.Clock
}

func (r deadlineReader) Read(p []byte) (int, error) {
	if err := r.conn.SetReadDeadline(r.clock.Now().Add(drainIdle)); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
