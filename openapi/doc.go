// Package openapi makes the description of the HTTP API, an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1), from what the faces
// say of their routes and from the Go types of what they read and answer.
//
// A face adds each Operation in the same breath as it registers the route that answers it: one statement has the method, the path, the
// handler and what there is to say. Schemas come from the types by reflection, so a field that is added is described; what a field means
// is its tag `doc:"…"`. Nothing is written by hand a second time, and what can still be wrong (a status, a problem, a parameter) is tried by a
// test that drives every operation of the document against a running server.
//
// The schemas are made here and not by a library: the rules are few, they are those of encoding/json, and the libraries there are call every
// field without omitempty required in a request too, where an absent one has its zero value.
//
// It serves nothing and knows no router: Operation.Route gives the pattern that gin wants.
//
// # Life cycle
//
// New makes an empty Document, the faces Add to it while they register their routes, and JSON returns the text. A Document is not safe for
// concurrent use. What cannot be described (a channel, two types of one name) is a mistake of the program and panics at its start, as a route
// that is registered twice does.
package openapi
