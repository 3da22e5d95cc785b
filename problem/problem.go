// Package problem is how the API says what went wrong: a problem document (RFC 9457) of one of the kinds listed here.
//
// It maps no errors: each face knows what its errors mean and names a Kind. Kinds is the complete list. The API's description is made
// from it, a test compares it with docs/api.md, and another finds every kind that the code names and that is not listed. To add a kind,
// add it to the list and to docs/api.md.
//
// It keeps no state, starts nothing and logs nothing.
package problem

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
)

// Kind is a kind of problem. It is an error, so that errors.Is finds it in what a client returns.
type Kind string

// typePrefix begins the type of every problem; the Kind follows.
const typePrefix = "/problems/"

// MediaType is the Content-Type of a Document, RFC 9457 §6.1.
const MediaType = "application/problem+json"

// Type returns the URI reference that names the kind in a Document.
func (k Kind) Type() string { return typePrefix + string(k) }

// Error returns the kind as a word.
func (k Kind) Error() string { return string(k) }

// KindOf returns the kind that a Document's type names; "" for a type that is none of ours.
func KindOf(uri string) Kind {
	k, ok := strings.CutPrefix(uri, typePrefix)
	if !ok {
		return ""
	}
	return Kind(k)
}

// Document is a problem as a client gets it.
type Document struct {
	Type   string `json:"type" doc:"A URI reference, /problems/ and the kind: what programs decide by"`
	Title  string `json:"title"`
	Status int    `json:"status" doc:"As in the status line"`
	Detail string `json:"detail" doc:"A sentence a person can act on"`
	// RequestID names the request in the server's log.
	RequestID string `json:"request_id" doc:"By which the server's log knows the request"`
}

// New returns a document. detail is a sentence a person can act on.
func New(status int, k Kind, detail, requestID string) Document {
	return Document{Type: k.Type(), Title: statusText(status), Status: status, Detail: detail, RequestID: requestID}
}

// StatusChecksum is the status that the resumable protocol tus has made up for a chunk that does not have its checksum.
const StatusChecksum = 460

// statusText is http.StatusText, with the status that tus has made up.
func statusText(status int) string {
	if status == StatusChecksum {
		return "Checksum Mismatch"
	}
	return http.StatusText(status)
}

// Write sends d as the answer. A client that has gone is nobody to tell.
func Write(w http.ResponseWriter, d Document) {
	b, err := json.Marshal(d)
	if err != nil {
		panic("problem: a document always marshals: " + err.Error())
	}
	w.Header().Set("Content-Type", MediaType)
	w.WriteHeader(d.Status)
	_, _ = w.Write(b)
}

// RequestIDHeader is the field that tells a client the id of its request.
const RequestIDHeader = "X-Request-Id"

// RequestID returns the id that an outer handler gave the request, found in the header of its answer, or gives it one.
func RequestID(answer http.Header) string {
	id := answer.Get(RequestIDHeader)
	if id == "" {
		id = rand.Text()[:16]
		answer.Set(RequestIDHeader, id)
	}
	return id
}
