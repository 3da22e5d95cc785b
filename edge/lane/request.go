package lane

import (
	"net/netip"
	"time"
)

// Method is the method of a request.
type Method byte

// The methods that the lane accepts.
const (
	GET Method = iota
	HEAD
)

// String returns the method as in a request line.
func (m Method) String() string {
	if m == HEAD {
		return "HEAD"
	}
	return "GET"
}

// Request is a request in canonical form, without a body. Its slices are parts of the head as the client wrote it, and alias a
// buffer; see Handler for how long. A field is nil if absent, and was not repeated.
type Request struct {
	Method Method
	Minor  byte   // of the version: HTTP/1.0 or HTTP/1.1
	Close  bool   // the answer is the last of its connection and must say so
	Target []byte // origin form (RFC 9112 §3.2.1), printable ASCII; '%' only before two hexadecimal digits
	Host   []byte // not empty; letters, digits and ".-_:[]" alone

	Range, IfRange                     []byte
	IfMatch, IfNoneMatch               []byte
	IfModifiedSince, IfUnmodifiedSince []byte
	Referer, UserAgent                 []byte

	Remote   netip.AddrPort // IPv4 unmapped, without a zone
	Received time.Time      // when the loop woke for the bytes that completed the head
	Loop     int            // index of the loop, from 0 to Config.Loops-1
}

// clone returns a copy that shares no memory with r.
func (r *Request) clone() *Request {
	c := *r
	fields := [...]*[]byte{&c.Target, &c.Host, &c.Range, &c.IfRange, &c.IfMatch, &c.IfNoneMatch, &c.IfModifiedSince, &c.IfUnmodifiedSince,
		&c.Referer, &c.UserAgent}
	size := 0
	for _, f := range fields {
		size += len(*f)
	}
	block := make([]byte, 0, size)
	for _, f := range fields {
		if *f == nil {
			continue
		}
		at := len(block)
		block = append(block, *f...)
		*f = block[at:len(block):len(block)]
	}
	return &c
}
