package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"perigee/object"
)

// Command is something the control side asks of a node.
type Command string

// The commands.
const (
	Drain   Command = "drain"   // ask for no new clients
	Undrain Command = "undrain" // be ready for new clients again
	Explain Command = "explain" // say what is held for the path in Request; changes nothing
)

// Request is a command with what it is about.
type Request struct {
	Command Command `json:"command"`
	// Site and Path are set for Explain.
	Site object.Site `json:"site,omitempty"`
	Path object.Path `json:"path,omitempty"`
}

// ErrNoAnswer says that a node is not on the bus or does not answer in time. It may have carried the command out.
var ErrNoAnswer = errors.New("the node does not answer")

const (
	answerWait    = 2 * time.Second
	commandBuffer = 16
	maxCommand    = 64 << 10 // bytes of a request or an answer
	maxResult     = 60 << 10 // bytes of a result in an answer
	maxErrorText  = 512
)

// request and answer are what goes over the bus.
type request struct {
	Format int `json:"format"` // 1
	Request
}

type answer struct {
	Format int             `json:"format"` // 1
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// ServeControl carries out the commands for node, one at a time, until stop is called; stop waits for a command that is
// under way, so do must not call it. The sender gets what do returns, as JSON, or the text of its error.
func (c *Client) ServeControl(node string, do func(Request) (any, error)) (stop func(), err error) {
	if _, err := object.ParseSite(node); err != nil {
		return nil, fmt.Errorf("serve commands: %w: node name %q", object.ErrInvalid, node)
	}
	return c.listen(controlSubject+node, commandBuffer, func(m *nats.Msg) {
		a := answer{Format: 1}
		req, err := parseRequest(m.Data)
		var result any
		if err == nil {
			result, err = do(req)
		}
		if err == nil && result != nil {
			a.Result, err = json.Marshal(result)
		}
		if len(a.Result) > maxResult {
			a.Result, err = nil, fmt.Errorf("the answer has %d bytes, the limit is %d", len(a.Result), maxResult)
		}
		if err != nil {
			a.Error = err.Error()[:min(len(err.Error()), maxErrorText)]
		}
		b, err := json.Marshal(a)
		if err != nil {
			panic("bus: an answer always marshals: " + err.Error())
		}
		if m.Reply == "" {
			return
		}
		if err := c.publish(m.Reply, b); err != nil {
			c.cfg.Log.Warn("could not answer a command", "command", req.Command, "error", err)
		}
	})
}

func parseRequest(b []byte) (Request, error) {
	var r request
	if len(b) > maxCommand || json.Unmarshal(b, &r) != nil || r.Format != 1 {
		return Request{}, errors.New("the request is not one this version knows")
	}
	switch r.Command {
	case Drain, Undrain:
	case Explain:
		_, err := object.ParseSite(string(r.Site))
		if err == nil {
			_, err = object.ParsePath(string(r.Path))
		}
		if err != nil {
			return Request{}, err
		}
	default:
		return Request{}, fmt.Errorf("command %q is not known to this version", r.Command)
	}
	return r.Request, nil
}

// Send asks node to carry out req and waits for its answer, for 2 s if ctx allows. The answer is decoded into result
// unless that is nil. The error wraps ErrNoAnswer if there is none.
func (c *Client) Send(ctx context.Context, node string, req Request, result any) error {
	cmd := req.Command
	if _, err := object.ParseSite(node); err != nil {
		return fmt.Errorf("send %s: %w: node name %q", cmd, object.ErrInvalid, node)
	}
	b, err := json.Marshal(request{Format: 1, Request: req})
	if err != nil {
		return fmt.Errorf("send %s to %s: %w", cmd, node, err)
	}
	ctx, cancel, err := c.now(ctx)
	if err != nil {
		return fmt.Errorf("send %s to %s: %w", cmd, node, err)
	}
	defer cancel()
	ctx, cancel = context.WithTimeoutCause(ctx, answerWait, fmt.Errorf("%w within %v", ErrNoAnswer, answerWait))
	defer cancel()
	m, err := c.nc.RequestWithContext(ctx, controlSubject+node, b)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("send %s to %s: %w: it is not connected to the bus", cmd, node, ErrNoAnswer)
	}
	if err != nil {
		return fmt.Errorf("send %s to %s: %w", cmd, node, because(ctx, err))
	}
	var a answer
	if len(m.Data) > maxCommand || json.Unmarshal(m.Data, &a) != nil || a.Format != 1 {
		return fmt.Errorf("send %s to %s: its answer is not one this version knows", cmd, node)
	}
	if a.Error != "" {
		return fmt.Errorf("%s %s: %s", cmd, node, a.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("%s %s: read its answer: %w", cmd, node, err)
	}
	return nil
}
