package openapi

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"perigee/problem"
)

// Operation is one method of one path.
type Operation struct {
	Method string
	// Path is "/api/v1/sites/{site}/files/{path...}"; a parameter that ends in "..." has slashes in it. What is behind such a
	// parameter belongs to the document alone: the route's handler tells it apart.
	Path string
	// ID names the operation for programs that are generated from the document, such as "putFile".
	ID string
	// Tag is the group that people find it in.
	Tag string
	// Summary is a line without a full stop, Doc what else there is to know.
	Summary, Doc string
	// Scope is what an API key needs to allow it; "" if no key is needed.
	Scope string
	// Schemes are the security schemes of the document of which a request needs one, without a scope; none if it needs none.
	Schemes []string
	// Beside says that the operation is answered before a request comes to the routes, so that it is none of them.
	Beside bool
	// Params are those of query and header; those of the path are known from Path.
	Params []Param
	// Body is what the request may carry, one for each media type; nil for nothing.
	Body []Content
	// BodyOptional says that there may be no body.
	BodyOptional bool
	// Answers are the successes.
	Answers []Answer
	// Problems are the kinds of failure that are the operation's own. Those of every call need not be listed.
	Problems []problem.Kind
}

// In says where a parameter is.
type In string

// The places of a parameter.
const (
	Query  In = "query"
	Header In = "header"
)

// Param is a parameter.
type Param struct {
	In       In
	Name     string
	Doc      string
	Required bool
	// Type is a value of the parameter's Go type; nil for a string.
	Type any
	// Limits are added to the type's schema, such as {"maximum": 1000}.
	Limits Schema
}

// Content is a body in one media type.
type Content struct {
	// Media is the media type; "application/json" if it is empty.
	Media string
	// Type is a value of the Go type that is encoded, a Schema, or OneOf; nil for bytes.
	Type any
}

// OneOf is the type of a body that has one of several types.
type OneOf []any

// Answer is a success.
type Answer struct {
	Status int
	Doc    string
	Content
	// Empty says that there is no body.
	Empty bool
	// Headers are the fields worth knowing, each with what it says.
	Headers map[string]string
}

// Route returns the pattern of the route in the form of gin: ":site" for "{site}", and "*path" for "{path...}", which ends it.
func (o *Operation) Route() string {
	p := o.Path
	if i := strings.Index(p, "...}"); i >= 0 {
		start := strings.LastIndexByte(p[:i], '{')
		p = p[:start] + "*" + p[start+1:i]
	}
	return parameter.ReplaceAllString(p, ":$1")
}

var (
	parameter   = regexp.MustCompile(`\{([a-z_]+)\}`)
	anyParam    = regexp.MustCompile(`\{([a-z_]+)(\.\.\.)?\}`)
	operationID = regexp.MustCompile(`^[a-z][A-Za-z]+$`)
)

// path returns the path as the document writes it.
func (o *Operation) path() string { return strings.ReplaceAll(o.Path, "...}", "}") }

// check panics if the operation is not whole.
func (o *Operation) check() {
	bad := func(what string) { panic(fmt.Sprintf("openapi: operation %s %s: %s", o.Method, o.Path, what)) }
	switch {
	case !operationID.MatchString(o.ID):
		bad("it has no ID")
	case o.Tag == "" || o.Summary == "" || strings.HasSuffix(o.Summary, "."):
		bad("it needs a tag and a summary without a full stop")
	case len(o.Answers) == 0:
		bad("it says of no success how it looks")
	}
	for _, k := range o.Problems {
		if _, ok := problem.Find(k); !ok {
			bad("package problem does not list " + string(k))
		}
	}
	for _, a := range o.Answers {
		if http.StatusText(a.Status) == "" || a.Doc == "" {
			bad("an answer needs a status and a sentence")
		}
	}
}
