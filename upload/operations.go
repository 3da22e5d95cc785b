package upload

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"perigee/openapi"
	"perigee/problem"
)

// adder registers a route and describes it.
type adder func(openapi.Operation, gin.HandlerFunc)

// Register adds the routes to r and to the API's description. A keys.Guard around r says who sends a
// request; without one, every route answers 401.
func (p *Publisher) Register(r gin.IRouter, d *openapi.Document) {
	d.Name("File", fileRecord{})
	d.Name("Published", Result{})
	describeConsistency(d)
	with := func(before ...gin.HandlerFunc) adder {
		g := r.Group("", append([]gin.HandlerFunc{hardened}, before...)...)
		return func(o openapi.Operation, h gin.HandlerFunc) {
			d.Add(o)
			g.Handle(o.Method, o.Route(), h)
		}
	}
	p.readRoutes(with(p.drained, p.allowed), d)
	p.changeRoutes(with(p.drained, p.allowed))
	p.listRoutes(with(p.drained, p.allowed))
	p.tusRoutes(with(p.drained, tusVersion, p.allowed, p.ownUpload))
	p.tusOthers(r.Group("", hardened, p.drained, tusVersion, p.allowed, p.ownUpload), d)
	p.directRoutes(with(p.drained, p.allowed, p.ownUpload, p.directOn))
}

// hardened sets what every answer carries: browsers neither guess at it nor show it as a document with an origin, nor let other sites read it. The
// API hands out no published content; names and types in its answers come from strangers all the same.
func hardened(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	problem.RequestID(h)
}

// tusOthers registers what the protocol answers besides: addresses without their last slash, and the methods that carry another one in
// X-HTTP-Method-Override, or are refused.
func (p *Publisher) tusOthers(r gin.IRouter, d *openapi.Document) {
	described := map[string]bool{}
	for _, o := range d.Operations() {
		described[o.Method+" "+o.Route()] = true
	}
	for _, route := range []string{uploadsRoute, uploadsRoute + "/", uploadsRoute + "/:id"} {
		for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if !described[method+" "+route] {
				d.Leave(method, route)
				r.Handle(method, route, p.tusMethod)
			}
		}
	}
}

// The scopes of a key that the routes need; package keys has them.
const (
	scopeRead    = "read"
	scopePublish = "publish"
)

// Parameters that several operations have.
var (
	paramCursor = openapi.Param{In: openapi.Query, Name: "cursor", Doc: "next of the page before"}
	paramLimit  = openapi.Param{In: openapi.Query, Name: "limit", Doc: "How many at most", Type: 0,
		Limits: openapi.Schema{"minimum": 1, "maximum": 1000, "default": 100}}
	paramWait = openapi.Param{In: openapi.Query, Name: "wait", Doc: "Wait for the proof this long, such as 5s; 30 s at most. effective in the answer says whether it came"}
	paramTags = openapi.Param{In: openapi.Query, Name: "tags", Doc: "Comma-separated, for purging"}
	ifMatch   = openapi.Param{In: openapi.Header, Name: "If-Match", Doc: "An etag of this API: only if that is the current version"}
	ifNone    = openapi.Param{In: openapi.Header, Name: "If-None-Match", Doc: "* : only if the path has no file"}
	tagsField = openapi.Param{In: openapi.Header, Name: "Perigee-Tags", Doc: "As ?tags="}
	cacheCtl  = openapi.Param{In: openapi.Header, Name: "Perigee-Cache-Control", Doc: "Sent to browsers in place of the site's rule"}
	offsetAt  = openapi.Param{In: openapi.Header, Name: "Upload-Offset", Doc: "Where the body begins, in bytes", Required: true, Type: int64(0)}
)

var etagHeader = map[string]string{"ETag": "The version, for If-Match"}

// Problems that several operations have.
var (
	storageProblems = []problem.Kind{"storage-full", "storage-denied", "storage-unavailable", "unsettled"}
	changeProblems  = append([]problem.Kind{"invalid", "not-found", "other-kind", "precondition-failed", "busy", "quota-exceeded"}, storageProblems...)
	bodyProblems    = append([]problem.Kind{"too-large", "incomplete", "idle", "too-slow"}, changeProblems...)
	chunkProblems   = append([]problem.Kind{"offset", "locked", "gone", "parts-changed", "checksum-mismatch"}, bodyProblems...)
)

// readRoutes are those that change nothing.
func (p *Publisher) readRoutes(route adder, d *openapi.Document) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/sites/{site}/files", ID: "listFiles", Tag: "files", Scope: scopeRead,
		Summary: "List the files of a site by path",
		Params: []openapi.Param{
			{In: openapi.Query, Name: "prefix", Doc: "Only paths that begin with this"}, paramCursor, paramLimit,
			{In: openapi.Query, Name: "partial", Doc: "1: while servers of the catalogue do not answer, the files of the others, and which are missing"},
		},
		Answers:  []openapi.Answer{{Status: 200, Doc: "One page", Content: openapi.Content{Type: filePage{}}}},
		Problems: []problem.Kind{"invalid", "not-found", "catalogue-incomplete"},
	}, p.list)
	file := openapi.Answer{Status: 200, Doc: "The file", Content: openapi.Content{Type: fileRecord{}}, Headers: etagHeader}
	unchanged := openapi.Answer{Status: 304, Doc: "If-None-Match names the current version", Empty: true}
	known := openapi.Param{In: openapi.Header, Name: "If-None-Match", Doc: "304 when it names the current version"}
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/sites/{site}/files/{path...}", ID: "getFile", Tag: "files", Scope: scopeRead,
		Summary: "What is published under a path", Doc: "The record, not the bytes: those are at its URL.", Params: []openapi.Param{known},
		Answers: []openapi.Answer{file, unchanged}, Problems: []problem.Kind{"invalid", "not-found"},
	}, p.get)
	file.Empty = true
	route(openapi.Operation{
		Method: http.MethodHead, Path: "/api/v1/sites/{site}/files/{path...}", ID: "headFile", Tag: "files", Scope: scopeRead,
		Summary: "Whether a path is published", Params: []openapi.Param{known},
		Answers: []openapi.Answer{file, unchanged}, Problems: []problem.Kind{"invalid", "not-found"},
	}, p.get)
	d.Add(openapi.Operation{ // answered by the route of getFile
		Method: http.MethodGet, Path: "/api/v1/sites/{site}/files/{path...}/versions", ID: "listVersions", Tag: "files", Scope: scopeRead,
		Summary: "The versions of a path, the newest first",
		Doc:     "When a file of the name …/versions exists, the URL means that file; …/files/{path}?versions always lists versions.",
		Params:  []openapi.Param{paramCursor, paramLimit},
		Answers: []openapi.Answer{{Status: 200, Doc: "One page", Content: openapi.Content{Type: versionPage{}}}}, Problems: []problem.Kind{"invalid", "not-found"},
	})
}

// changeRoutes are those that change a path in one request.
func (p *Publisher) changeRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodPut, Path: "/api/v1/sites/{site}/files/{path...}", ID: "putFile", Tag: "files", Scope: scopePublish,
		Summary: "Publish a file",
		Params: []openapi.Param{
			ifMatch, ifNone, paramWait, paramTags, tagsField, cacheCtl,
			{In: openapi.Header, Name: "Content-Type", Doc: "A hint; name and content decide"},
			{In: openapi.Header, Name: "Repr-Digest", Doc: "sha-256=:base64: (RFC 9530): only these bytes are taken. Content-Digest does the same"},
		},
		Body: []openapi.Content{{Media: "*/*"}},
		Answers: []openapi.Answer{
			{Status: 200, Doc: "An existing file was replaced", Content: openapi.Content{Type: Result{}}, Headers: etagHeader},
			{Status: 201, Doc: "A new file was published", Content: openapi.Content{Type: Result{}}, Headers: etagHeader},
		},
		Problems: append([]problem.Kind{"partial", "encoded", "digest-mismatch"}, bodyProblems...),
	}, p.put)
	route(openapi.Operation{
		Method: http.MethodDelete, Path: "/api/v1/sites/{site}/files/{path...}", ID: "deleteFile", Tag: "files", Scope: scopePublish,
		Summary: "End a path: its URL answers 404, its versions stay",
		Params:  []openapi.Param{{In: openapi.Query, Name: "versions", Doc: "With `all` its versions are removed, too: their immutable URLs answer 410"}, ifMatch, paramWait},
		Answers: []openapi.Answer{
			{Status: 200, Doc: "Deleted; with versions=all, what was removed", Content: openapi.Content{Type: openapi.OneOf{Result{}, removed{}}}, Headers: etagHeader}},
		Problems: changeProblems,
	}, p.delete)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/sites/{site}/files/{path...}/rollback", ID: "rollback", Tag: "files", Scope: scopePublish,
		Summary: "Publish what an older version was as a new version; no bytes move",
		Params:  []openapi.Param{{In: openapi.Query, Name: "version", Doc: "In place of the body"}, ifMatch, paramWait},
		Body:    []openapi.Content{{Type: rollbackBody{}}}, BodyOptional: true,
		Answers:  []openapi.Answer{{Status: 200, Doc: "Published", Content: openapi.Content{Type: Result{}}, Headers: etagHeader}},
		Problems: append([]problem.Kind{"method"}, changeProblems...),
	}, p.post)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/sites/{site}/files", ID: "uploadForm", Tag: "files", Scope: scopePublish,
		Summary: "Upload files as an HTML form does",
		Doc: "Fields count for the files after them: path (of the only file), prefix or directory, tags, cache_control. " +
			"Each file is published by itself; when none was, the status is that of the first one's problem.",
		Body: []openapi.Content{{Media: "multipart/form-data", Type: openapi.Schema{
			"type": "object", "required": []string{"file"}, "properties": map[string]openapi.Schema{
				"path": {"type": "string"}, "prefix": {"type": "string"}, "directory": {"type": "string"}, "tags": {"type": "string"},
				"cache_control": {"type": "string"}, "file": {"type": "array", "items": openapi.Schema{}},
			},
		}}},
		Answers: []openapi.Answer{
			{Status: 201, Doc: "Every file was published", Content: openapi.Content{Type: formAnswer{}}},
			{Status: 207, Doc: "Some files were published", Content: openapi.Content{Type: formAnswer{}}},
			{Status: 303, Doc: "To a browser (Accept: text/html) when every file was published: back to the console", Empty: true},
		},
		Problems: append([]problem.Kind{"not-a-form", "no-file", "too-many"}, bodyProblems...),
	}, p.form)
}

var publishedFields = map[string]string{
	"Upload-Offset": "How many bytes have arrived", "Upload-Expires": "Until when the upload may rest",
	"Perigee-URL": "Of the published file, with the last byte", "Perigee-Immutable-URL": "Of this version", "Perigee-Version": "The version",
	"Perigee-Path": "The path, escaped", "Perigee-SHA256": "Of the file, in hexadecimal", "Perigee-Position": "The place in the log",
}

// listRoutes are lists that belong to no site.
func (p *Publisher) listRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/uploads", ID: "listUploads", Tag: "uploads", Scope: scopeRead,
		Summary: "The resumable and direct uploads that the key may go on with",
		Doc:     "A page may have fewer than limit: what is not the key's is left out.",
		Params:  []openapi.Param{paramCursor, paramLimit},
		Answers: []openapi.Answer{{Status: 200, Doc: "One page", Content: openapi.Content{Type: uploadPage{}}}}, Problems: []problem.Kind{"invalid"},
	}, p.uploads)
}

// tusRoutes are the resumable uploads.
func (p *Publisher) tusRoutes(route adder) {
	offers := []openapi.Answer{{Status: 204, Doc: "What the server does", Empty: true, Headers: map[string]string{
		"Tus-Version": "Of the protocol", "Tus-Extension": "That are implemented", "Tus-Max-Size": "Of a file, in bytes",
		"Tus-Checksum-Algorithm": "Those of Upload-Checksum",
	}}}
	tusResumable := openapi.Param{In: openapi.Header, Name: "Tus-Resumable", Doc: "1.0.0", Required: true}
	checksum := openapi.Param{In: openapi.Header, Name: checksumHeader, Doc: "Of the bytes of this request: sha256, sha1, md5 or sha512, a space, base64. Also as a trailer"}
	length := openapi.Param{In: openapi.Header, Name: "Upload-Length", Doc: "Size of the file in bytes", Type: int64(0)}
	chunks := []openapi.Content{{Media: chunkType}}
	route(openapi.Operation{
		Method: http.MethodOptions, Path: "/api/v1/uploads/", ID: "tusOptions", Tag: "uploads", Scope: scopeRead,
		Summary: "What the resumable protocol offers (tus 1.0)", Answers: offers,
	}, p.tusMethod)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/uploads/", ID: "tusCreate", Tag: "uploads", Scope: scopePublish,
		Summary: "Begin a resumable upload",
		Params: []openapi.Param{
			tusResumable, length, checksum, ifMatch, ifNone,
			{In: openapi.Header, Name: "Upload-Defer-Length", Doc: "1: the length comes later"},
			{In: openapi.Header, Name: "Upload-Concat", Doc: "partial, or final; and the addresses of partial uploads"},
			{In: openapi.Header, Name: "Upload-Metadata", Doc: "site, path or filename and prefix, filetype, tags, cache_control; each value in base64"},
		},
		Body: chunks, BodyOptional: true,
		Answers: []openapi.Answer{{Status: 201, Doc: "Location is the upload. If the body was the whole file, it is published", Empty: true,
			Headers: withField(publishedFields, "Location", "The upload")}},
		Problems: append([]problem.Kind{"unfinished"}, chunkProblems...),
	}, p.tusMethod)
	route(openapi.Operation{
		Method: http.MethodOptions, Path: "/api/v1/uploads/{id}", ID: "tusOptionsOne", Tag: "uploads", Scope: scopeRead,
		Summary: "As OPTIONS /api/v1/uploads/", Answers: offers,
	}, p.tusMethod)
	route(openapi.Operation{
		Method: http.MethodHead, Path: "/api/v1/uploads/{id}", ID: "tusHead", Tag: "uploads", Scope: scopeRead,
		Summary: "How far an upload is", Params: []openapi.Param{tusResumable},
		Answers:  []openapi.Answer{{Status: 200, Doc: "How far", Empty: true, Headers: withField(publishedFields, "Upload-Length", "Of the whole file")}},
		Problems: []problem.Kind{"not-found", "gone", "locked"},
	}, p.tusMethod)
	route(openapi.Operation{
		Method: http.MethodPatch, Path: "/api/v1/uploads/{id}", ID: "tusPatch", Tag: "uploads", Scope: scopePublish,
		Summary: "Send the next bytes", Params: []openapi.Param{tusResumable, offsetAt, checksum, length}, Body: chunks,
		Answers:  []openapi.Answer{{Status: 204, Doc: "They have arrived; with the last ones the file is published", Empty: true, Headers: publishedFields}},
		Problems: append([]problem.Kind{"final"}, chunkProblems...),
	}, p.tusMethod)
	route(openapi.Operation{
		Method: http.MethodDelete, Path: "/api/v1/uploads/{id}", ID: "tusTerminate", Tag: "uploads", Scope: scopePublish,
		Summary: "Give an upload up, or forget a finished one; a published file stays", Params: []openapi.Param{tusResumable},
		Answers:  []openapi.Answer{{Status: 204, Doc: "It is gone", Empty: true}},
		Problems: append([]problem.Kind{"not-found", "gone", "locked"}, storageProblems...),
	}, p.tusMethod)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/uploads/{id}", ID: "tusOverride", Tag: "uploads", Scope: scopePublish,
		Summary: "PATCH, HEAD or DELETE for clients that cannot send them",
		Params:  []openapi.Param{tusResumable, {In: openapi.Header, Name: methodOverride, Doc: "The method that is meant", Required: true}},
		Body:    chunks, BodyOptional: true,
		Answers: []openapi.Answer{
			{Status: 200, Doc: "As HEAD", Empty: true, Headers: publishedFields}, {Status: 204, Doc: "As PATCH or DELETE", Empty: true, Headers: publishedFields},
		},
		Problems: append([]problem.Kind{"method", "final"}, chunkProblems...),
	}, p.tusMethod)
}

// directRoutes are the uploads whose bytes go straight to the storage.
func (p *Publisher) directRoutes(route adder) {
	tells := openapi.Content{Type: directAnswer{}}
	pages := []openapi.Param{
		{In: openapi.Query, Name: "from", Doc: "The first part to give a URL for", Type: 0, Limits: openapi.Schema{"minimum": 1, "default": 1}},
		{In: openapi.Query, Name: "count", Doc: "How many URLs", Type: 0, Limits: openapi.Schema{"minimum": 0, "maximum": maxPresigned, "default": somePresigned}},
	}
	with := func(kinds ...problem.Kind) []problem.Kind {
		return append(append(kinds, "direct-off", "locked"), changeProblems...)
	}
	route(openapi.Operation{
		Method: http.MethodPost, Path: directRoute, ID: "directCreate", Tag: "uploads", Scope: scopePublish,
		Summary: "Begin an upload straight to the storage", Doc: "Each part is sent by PUT to its signed URL, with exactly its size; then commit.",
		Params: append([]openapi.Param{ifMatch, ifNone}, pages...), Body: []openapi.Content{{Type: directRequest{}}},
		Answers: []openapi.Answer{{Status: 201, Doc: "The URLs of its first parts", Content: tells}}, Problems: with("too-large"),
	}, p.directCreate)
	route(openapi.Operation{
		Method: http.MethodGet, Path: directRoute + "/{id}", ID: "directGet", Tag: "uploads", Scope: scopeRead,
		Summary: "What has arrived, and more URLs; of a finished one, what it was published as", Params: pages,
		Answers:  []openapi.Answer{{Status: 200, Doc: "How far it is", Content: openapi.Content{Type: openapi.OneOf{directAnswer{}, Result{}}}}},
		Problems: with("gone"),
	}, p.directGet)
	route(openapi.Operation{
		Method: http.MethodPost, Path: directRoute + "/{id}/commit", ID: "directCommit", Tag: "uploads", Scope: scopePublish,
		Summary: "Join the parts, read what they have become, and publish it", Params: []openapi.Param{paramWait},
		Answers: []openapi.Answer{
			{Status: 200, Doc: "An existing file was replaced", Content: openapi.Content{Type: Result{}}, Headers: etagHeader},
			{Status: 201, Doc: "A new file was published", Content: openapi.Content{Type: Result{}}, Headers: etagHeader},
		},
		Problems: with("gone", "parts-changed", "incomplete", "digest-mismatch"),
	}, p.directCommit)
	route(openapi.Operation{
		Method: http.MethodDelete, Path: directRoute + "/{id}", ID: "directEnd", Tag: "uploads", Scope: scopePublish,
		Summary: "Give it up", Answers: []openapi.Answer{{Status: 204, Doc: "It is gone", Empty: true}}, Problems: with("gone"),
	}, p.directDelete)
}

// withField returns a copy of fields with one more.
func withField(fields map[string]string, name, doc string) map[string]string {
	out := map[string]string{name: doc}
	for k, v := range fields {
		out[k] = v
	}
	return out
}
