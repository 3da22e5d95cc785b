package bus

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"perigee/fleet"
)

// reportBuffer is how many reports wait for a subscriber that is busy. More are dropped: a newer one follows within
// fleet.ReportEvery.
const reportBuffer = 1024

// PublishReport sends r to whoever listens, without waiting. It fails while the bus cannot be reached: nothing is kept
// for later.
func (c *Client) PublishReport(r *fleet.Report) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("publish report: %w", err)
	}
	if err := c.publish(reportSubject+r.Node, fleet.EncodeReport(r)); err != nil {
		return fmt.Errorf("publish report of %s: %w", r.Node, err)
	}
	return nil
}

// SubscribeReports calls hear with every valid report, one at a time, until stop is called; stop waits for a call that
// is under way, so hear must not call it. Reports that do not decode, or speak for another node than their sender may,
// are dropped and counted by DroppedReports.
func (c *Client) SubscribeReports(hear func(*fleet.Report)) (stop func(), err error) {
	return c.listen(reportSubject+"*", reportBuffer, func(m *nats.Msg) {
		r, err := fleet.DecodeReport(m.Data)
		if err == nil && r.Node != strings.TrimPrefix(m.Subject, reportSubject) {
			err = errors.New("it speaks for another node")
		}
		if err != nil {
			c.dropped.Add(1)
			c.cfg.Log.Debug("dropped a report", "subject", m.Subject, "error", err)
			return
		}
		hear(r)
	})
}

// DroppedReports is how many reports were dropped because they were not valid.
func (c *Client) DroppedReports() uint64 { return c.dropped.Load() }

// listen calls hear with every message of subject, one at a time, until stop, which waits, or Close.
func (c *Client) listen(subject string, buffer int, hear func(*nats.Msg)) (stop func(), err error) {
	msgs := make(chan *nats.Msg, buffer)
	sub, err := c.nc.ChanSubscribe(subject, msgs)
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", subject, err)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer sub.Unsubscribe()
		for {
			select {
			case m := <-msgs:
				hear(m)
			case <-end:
				return
			case <-c.closed:
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(end); <-ended }), nil
}
