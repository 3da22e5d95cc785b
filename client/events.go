package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// Event is something that happened, as GET /api/v1/events tells it.
type Event struct {
	// Name is hello, fleet, publish, delete, purge, site, proof, or resync: events were lost, fetch anew what you show.
	Name string
	Data json.RawMessage
}

// maxEvent bounds one event, in bytes.
const maxEvent = 4 << 20

// Events yields what happens until ctx ends, which ends it without an error. It begins with "hello" and "fleet", and does so again when the
// connection had to be made anew; what happened meanwhile is lost. An error that will not go away by itself ends it.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for try := 1; ; try++ {
			seen, err := c.listen(ctx, yield)
			if seen {
				try = 1
			}
			switch {
			case ctx.Err() != nil || err == errLeft:
				return
			case err != nil && !c.again(ctx, try, err):
				if ctx.Err() == nil {
					yield(Event{}, fmt.Errorf("events: %w", err))
				}
				return
			}
		}
	}
}

// errLeft says that the caller wants no more events.
var errLeft = fmt.Errorf("no more events are wanted")

// listen yields the events of one connection; nil says that the server ended it.
func (c *Client) listen(ctx context.Context, yield func(Event, error) bool) (seen bool, err error) {
	req, err := c.request(ctx, http.MethodGet, "/events", nil, nil)
	if err != nil {
		return false, err
	}
	res, err := c.do(req, "text/event-stream, application/problem+json")
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	var e Event
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "" && e.Name != "":
			if seen = true; !yield(e, nil) {
				return true, errLeft
			}
			e = Event{}
		case name == "event":
			e.Name = value
		case name == "data":
			e.Data = append(e.Data, value...)
		}
	}
	if err := lines.Err(); err != nil && err != io.EOF {
		return seen, &unreachableError{c.base, err}
	}
	return seen, nil
}
