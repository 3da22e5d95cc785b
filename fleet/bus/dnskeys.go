package bus

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"perigee/object"
)

const (
	// dnsKeysSubject is followed by the public identity of the recipient.
	dnsKeysSubject = "perigee.dnskeys."
	// dnsKeysBuffer is how many messages wait for a subscriber that is busy: one of each of the most peers there can be. More are dropped; they are repeated.
	dnsKeysBuffer = 64
	maxDNSKeys    = 32 << 10 // bytes of a message
	maxRecipient  = 64       // bytes of a name
)

// PublishDNSKeys sends a sealed message about DNSSEC keys to one recipient, without waiting. It fails while the bus cannot be reached: nothing is kept for later. The
// client must be a node's on a bus with users: the control side does not have the subject.
func (c *Client) PublishDNSKeys(to string, message []byte) error {
	if err := checkRecipient(to); err != nil {
		return fmt.Errorf("publish DNSSEC keys: %w", err)
	}
	if len(message) > maxDNSKeys {
		return fmt.Errorf("publish DNSSEC keys: %w: the message has %d bytes, at most %d travel", object.ErrInvalid, len(message), maxDNSKeys)
	}
	if err := c.publish(dnsKeysSubject+to, message); err != nil {
		return fmt.Errorf("publish DNSSEC keys: %w", err)
	}
	return nil
}

// SubscribeDNSKeys calls hear with every message to a recipient, one at a time, until stop is called; stop waits for a call that is under way, so hear must not call
// it. Whoever has a node's key to the bus may have sent it: hear judges. A message that is too long reaches hear empty, so that it can be counted.
func (c *Client) SubscribeDNSKeys(to string, hear func(message []byte)) (stop func(), err error) {
	if err := checkRecipient(to); err != nil {
		return nil, fmt.Errorf("listen for DNSSEC keys: %w", err)
	}
	return c.listen(dnsKeysSubject+to, dnsKeysBuffer, func(m *nats.Msg) {
		if len(m.Data) > maxDNSKeys {
			hear(nil)
			return
		}
		hear(m.Data)
	})
}

// checkRecipient looks for what would be another subject, or several.
func checkRecipient(to string) error {
	ok := to != "" && len(to) <= maxRecipient
	for _, c := range []byte(to) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		return fmt.Errorf("%w: recipient %q", object.ErrInvalid, to)
	}
	return nil
}
