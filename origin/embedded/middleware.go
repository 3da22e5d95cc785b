package embedded

import (
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
		err := ctx.Next()
		drain(ctx, c)
		if status := ctx.Response().StatusCode(); err != nil || status >= http.StatusInternalServerError {
			log.Error("storage request failed", "method", ctx.Method(), "path", ctx.Path(), "status", status, "err", err)
		}
		return err
	}
}

func drain(ctx fiber.Ctx, c clock.Clock) {
	body := ctx.Request().BodyStream()
	// A chunked body that was read to its end would wait for more.
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
