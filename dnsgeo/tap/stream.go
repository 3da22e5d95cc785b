package tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Frame Streams (https://farsightsec.github.io/fstrm/): data frames are a length in four bytes, big-endian, and as many bytes. A length of zero escapes to a
// control frame: again a length, then the type in four bytes and fields, each its type, its length and its bytes.

// contentType is what the frames of dnstap are.
const contentType = "protobuf:dnstap.Dnstap"

// The types of control frames, and the only field that they have.
const (
	controlAccept = 1
	controlStart  = 2
	controlStop   = 3
	controlReady  = 4
	controlFinish = 5

	fieldContentType = 1
)

// The bounds of what we read, as in fstrm.
const (
	maxControl     = 512
	maxContentType = 256
)

// appendControl appends a control frame, with a content type if that is not empty.
func appendControl(b []byte, kind uint32, content string) []byte {
	n := 4
	if content != "" {
		n += 8 + len(content)
	}
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, kind)
	if content != "" {
		b = binary.BigEndian.AppendUint32(b, fieldContentType)
		b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
		b = append(b, content...)
	}
	return b
}

// readControl reads a control frame of a type. The error says what came instead.
func readControl(r io.Reader, kind uint32) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[4:])
	if binary.BigEndian.Uint32(head[:]) != 0 || n < 4 || n > maxControl {
		return nil, errors.New("the collector does not speak Frame Streams")
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	if got := binary.BigEndian.Uint32(frame); got != kind {
		return nil, fmt.Errorf("the collector sent a control frame of type %d, not %d", got, kind)
	}
	return frame[4:], nil
}

// accepts reads the fields of an ACCEPT frame: it must name our content type, or none at all.
func accepts(fields []byte) error {
	var others bool
	for len(fields) > 0 {
		if len(fields) < 8 {
			return errors.New("the collector sent half a field")
		}
		kind, n := binary.BigEndian.Uint32(fields), binary.BigEndian.Uint32(fields[4:])
		if fields = fields[8:]; kind != fieldContentType || n > maxContentType || int(n) > len(fields) {
			return errors.New("the collector sent a field that Frame Streams does not have")
		}
		if string(fields[:n]) == contentType {
			return nil
		}
		others = true
		fields = fields[n:]
	}
	if others {
		return fmt.Errorf("the collector does not take %s; configure it for dnstap", contentType)
	}
	return nil
}
