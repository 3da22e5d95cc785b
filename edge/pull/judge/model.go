// Package judge is a small executable model of a shared HTTP cache, written from the text of RFC 9110, RFC 9111, RFC 5861 and RFC 9213. A
// Checker reads the history of a cache that something else ran: what each client sent and got, what the origin saw and answered. It says
// which observations break which section. A Generator invents requests, and how an origin answers them.
//
// It is not a cache: it stores nothing for reuse, opens no connection, asks no clock and imports nothing else of this module, so that what it
// finds does not repeat the mistakes of the code it judges. A cache may forget at any time, hence the model keeps every response that a cache
// may have stored and may still have, and refuses only what none of them can explain.
//
// Where the text leaves a choice, the comment of the function that takes it says so. Three things deserve to be known beforehand. Request
// directives are advisory (RFC 9111 §5.2.1), so breaking them is a Lapse. An Age field that is no number is ignored, and of several members the first counts (§5.1). A
// lifetime directive that is repeated counts with its first value (§4.2.1), one that is invalid counts as 0.
//
// A Checker lives as long as one history and needs no end. It cannot fail; input that makes no sense is a Violation. Neither type may be used
// by two goroutines at once.
package judge

import (
	"fmt"
	"net/http"
	"time"
)

// Request is a request as seen on the wire.
type Request struct {
	At     time.Time // when it was received
	Method string
	Target string // path?query; a history has one host
	Header http.Header
}

// Response is a response as seen on the wire.
type Response struct {
	At     time.Time // when it was sent
	Status int
	Header http.Header
	Body   string
	Failed bool // the connection broke: instead of an answer if Status is 0, else before the end of the body
}

// Forwarded is one request that the origin saw, and its answer.
type Forwarded struct {
	Request  Request
	Response Response
}

// Exchange is what one client request led to. A Client.Method of "" marks a revalidation in the background, which has nobody to answer.
type Exchange struct {
	Client Request
	Got    Response
	Origin []Forwarded // in order; none: the cache answered by itself
}

// ID names the response field in which the origin numbers its answers. A 304 or HEAD that updates a stored response updates it as well, so
// that it tells which set of fields an answer carries.
const ID = "X-Id"

// Finding is what all errors of a Checker have in common.
type Finding struct {
	Section string // such as "RFC 9111 §4.2.4"
	Rule    string // what the section asks for, the same for each breach of it
	Detail  string // what happened instead
}

// Error names section, rule and breach.
func (f Finding) Error() string { return fmt.Sprintf("%s: %s: %s", f.Section, f.Rule, f.Detail) }

// Violation is a MUST that was broken.
type Violation struct{ Finding }

// Lapse is a SHOULD, or an advice that a cache may ignore if it says so, that was not followed.
type Lapse struct{ Finding }

// Missed is an origin that was asked although a fresh response was stored for certain: allowed, because a cache may forget, but pointless.
type Missed struct{ Finding }

// verdict collects what is wrong with one exchange, or with one explanation of it.
type verdict struct{ errs []error }

// must notes a Violation.
func (w *verdict) must(section, rule, format string, args ...any) {
	w.errs = append(w.errs, Violation{Finding{section, rule, fmt.Sprintf(format, args...)}})
}

// should notes a Lapse.
func (w *verdict) should(section, rule, format string, args ...any) {
	w.errs = append(w.errs, Lapse{Finding{section, rule, fmt.Sprintf(format, args...)}})
}

// weight orders explanations: any number of lapses is better than one violation.
func (w *verdict) weight() int {
	n := 0
	for _, err := range w.errs {
		if _, ok := err.(Violation); ok {
			n += 1000
		}
		n++
	}
	return n
}
