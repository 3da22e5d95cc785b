package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// readBatch and readBytes bound one answer of the stream.
const (
	readBatch = 256
	readBytes = 1 << 20
)

// stored is a message of the stream.
type stored struct {
	seq  uint64
	id   string // identity of the stream it was written for; empty if it is not from a Log
	data []byte
}

// storedFrom reads what the server says of a stored message in its headers.
func storedFrom(m *nats.Msg) (stored, error) {
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil || m.Header.Get("Nats-Stream") != streamName {
		return stored{}, errors.New("it is no message of the log")
	}
	return stored{seq: seq, id: m.Header.Get(headerID), data: m.Data}, nil
}

// read returns up to n messages of the stream in order, the first one with sequence from or, if that one is gone, the
// next there is; none if there is none. It is one direct get of a batch (NATS ADR-31). ctx is one of Client.now.
func (c *Client) read(ctx context.Context, from uint64, n int) ([]stored, error) {
	req, err := json.Marshal(struct {
		Seq      uint64 `json:"seq"`
		Batch    int    `json:"batch"`
		MaxBytes int    `json:"max_bytes"`
	}{from, n, readBytes})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	defer sub.Unsubscribe()
	if err := c.nc.PublishRequest(readCall, inbox, req); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	var got []stored
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", because(ctx, err))
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404": // end of batch; nothing from there on
			return got, nil
		default:
			return nil, fmt.Errorf("read the log: %s %s", status, m.Header.Get("Description"))
		}
		s, err := storedFrom(m)
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		got = append(got, s)
	}
}
