package tap

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"
)

// The fields of dnstap.proto (https://github.com/dnstap/dnstap.pb) that are written, each with its wire type: field number << 3 | type.
const (
	varint, bytesType, fixed32 = 0, 2, 5

	// message Dnstap
	tagIdentity = 1<<3 | bytesType
	tagVersion  = 2<<3 | bytesType
	tagMessage  = 14<<3 | bytesType
	tagType     = 15<<3 | varint // enum Type, of which there is one: MESSAGE
	typeMessage = 1

	// message Message
	tagKind            = 1<<3 | varint // enum Type
	tagFamily          = 2<<3 | varint // enum SocketFamily
	tagProtocol        = 3<<3 | varint // enum SocketProtocol
	tagQueryAddress    = 4<<3 | bytesType
	tagResponseAddress = 5<<3 | bytesType
	tagQueryPort       = 6<<3 | varint
	tagResponsePort    = 7<<3 | varint
	tagQuerySec        = 8<<3 | varint
	tagQueryNsec       = 9<<3 | fixed32
	tagQueryMessage    = 10<<3 | bytesType
	tagQueryZone       = 11<<3 | bytesType
	tagResponseSec     = 12<<3 | varint
	tagResponseNsec    = 13<<3 | fixed32
	tagResponseMessage = 14<<3 | bytesType

	authQuery, authResponse = 1, 2
	inet, inet6             = 1, 2
)

// maxMessage is how much of a DNS message is told: all that there can be.
const maxMessage = 1<<16 - 1

// Numbers are written seven bits a byte. All tags here are one byte.

func appendNumber(b []byte, tag byte, v uint64) []byte {
	return binary.AppendUvarint(append(b, tag), v)
}

func appendBytes(b []byte, tag byte, v []byte) []byte {
	return append(binary.AppendUvarint(append(b, tag), uint64(len(v))), v...)
}

func numberSize(v uint64) int { return 1 + (bits.Len64(v|1)+6)/7 }

func bytesSize(n int) int { return numberSize(uint64(n)) + n }

// appendHead appends what is the same in every message.
func appendHead(b []byte, identity, version string) []byte {
	if identity != "" {
		b = appendBytes(b, tagIdentity, []byte(identity))
	}
	if version != "" {
		b = appendBytes(b, tagVersion, []byte(version))
	}
	return appendNumber(b, tagType, typeMessage)
}

// appendFrame appends a data frame of Frame Streams: its length in four bytes, and a Dnstap message of a kind.
func appendFrame(b, head []byte, kind uint64, x *Exchange) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = append(b, head...)
	b = append(b, tagMessage)
	b = binary.AppendUvarint(b, uint64(messageSize(kind, x)))
	b = appendMessage(b, kind, x)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// family returns the SocketFamily of an exchange and its addresses as they are told, the zero Addr for one that is not. Both are of the family of the client's.
func (x *Exchange) family() (family uint64, client, server netip.Addr) {
	client, server = x.Client.Addr().Unmap(), x.Server.Addr().Unmap()
	switch {
	case client.Is4():
		family = inet
	case client.Is6():
		family = inet6
	case server.Is4():
		family = inet
	default:
		family = inet6
	}
	if client.IsValid() && server.IsValid() && client.Is4() != server.Is4() {
		server = netip.Addr{}
	}
	return family, client, server
}

// appendMessage appends a Message. messageSize says how long it becomes; the two go through the same fields.
func appendMessage(b []byte, kind uint64, x *Exchange) []byte {
	family, client, server := x.family()
	b = appendNumber(b, tagKind, kind)
	if client.IsValid() || server.IsValid() {
		b = appendNumber(b, tagFamily, family)
	}
	b = appendNumber(b, tagProtocol, uint64(x.Transport))
	b = appendAddress(b, tagQueryAddress, client)
	b = appendAddress(b, tagResponseAddress, server)
	if client.IsValid() {
		b = appendNumber(b, tagQueryPort, uint64(x.Client.Port()))
	}
	if server.IsValid() {
		b = appendNumber(b, tagResponsePort, uint64(x.Server.Port()))
	}
	b = appendTime(b, tagQuerySec, tagQueryNsec, x.QueryTime)
	if kind == authQuery {
		b = appendBytes(b, tagQueryMessage, x.Query[:min(len(x.Query), maxMessage)])
	}
	if len(x.Zone) > 0 {
		b = appendBytes(b, tagQueryZone, x.Zone)
	}
	if kind == authResponse {
		b = appendTime(b, tagResponseSec, tagResponseNsec, x.ResponseTime)
		b = appendBytes(b, tagResponseMessage, x.Response[:min(len(x.Response), maxMessage)])
	}
	return b
}

func messageSize(kind uint64, x *Exchange) int {
	_, client, server := x.family()
	n := numberSize(kind) + numberSize(uint64(x.Transport)) + timeSize(x.QueryTime)
	if client.IsValid() || server.IsValid() {
		n += 2 // both families are one byte
	}
	if client.IsValid() {
		n += bytesSize(client.BitLen()/8) + numberSize(uint64(x.Client.Port()))
	}
	if server.IsValid() {
		n += bytesSize(server.BitLen()/8) + numberSize(uint64(x.Server.Port()))
	}
	if len(x.Zone) > 0 {
		n += bytesSize(len(x.Zone))
	}
	if kind == authQuery {
		return n + bytesSize(min(len(x.Query), maxMessage))
	}
	return n + timeSize(x.ResponseTime) + bytesSize(min(len(x.Response), maxMessage))
}

func appendAddress(b []byte, tag byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		v := a.As4()
		return appendBytes(b, tag, v[:])
	case a.Is6():
		v := a.As16()
		return appendBytes(b, tag, v[:])
	}
	return b
}

// appendTime appends seconds since 1970 and the nanoseconds beyond; nothing for the zero Time.
func appendTime(b []byte, sec, nsec byte, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = appendNumber(b, sec, uint64(t.Unix()))
	return binary.LittleEndian.AppendUint32(append(b, nsec), uint32(t.Nanosecond()))
}

func timeSize(t time.Time) int {
	if t.IsZero() {
		return 0
	}
	return numberSize(uint64(t.Unix())) + 5
}
