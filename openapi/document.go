package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"perigee/problem"
)

// Info is what the document says of the whole.
type Info struct {
	Title, Version, Description string
	// Tags are the groups of operations in the order in which people meet them, each "name: what is in it".
	Tags []string
}

// Document is a description in the making.
type Document struct {
	info       Info
	schemas    *schemas
	operations []Operation
	seen       map[string]bool // method and path, and IDs
	left       []string
	params     []common
	headers    []common
}

// common is a field that many operations have.
type common struct {
	Param
	of func(*Operation) bool
}

// New returns a document without operations, which knows the types of package object and of purge.
func New(i Info) *Document {
	d := &Document{info: i, schemas: newSchemas(), seen: map[string]bool{}}
	d.vocabulary()
	return d
}

// Add adds an operation. It panics if the operation is not whole, or there already.
func (d *Document) Add(o Operation) {
	o.check()
	for _, key := range []string{o.Method + " " + o.path(), o.ID} {
		if d.seen[key] {
			panic("openapi: there are two operations " + key)
		}
		d.seen[key] = true
	}
	d.operations = append(d.operations, o)
}

// Common adds a parameter, which may be left out, to every operation that of takes, whenever it is added.
func (d *Document) Common(p Param, of func(*Operation) bool) {
	d.params = append(d.params, common{p, of})
}

// CommonHeader adds a field to the successes of every operation that of takes.
func (d *Document) CommonHeader(name, doc string, of func(*Operation) bool) {
	d.headers = append(d.headers, common{Param{In: Header, Name: name, Doc: doc}, of})
}

// commons are the components of the fields that many operations have.
func (d *Document) commons() (params, headers map[string]any) {
	params, headers = map[string]any{}, map[string]any{}
	for _, p := range d.params {
		params[p.Name] = d.parameter(p.Param)
	}
	for _, h := range d.headers {
		headers[h.Name] = map[string]any{"description": h.Doc, "schema": Schema{"type": "string"}}
	}
	return params, headers
}

// Operations returns what was added.
func (d *Document) Operations() []Operation { return slices.Clone(d.operations) }

// Leave names a route that is registered and not described: another spelling of one that is, or one that is there to refuse.
func (d *Document) Leave(method, route string) { d.left = append(d.left, method+" "+route) }

// Left returns the routes that Leave was told of, each as method and pattern.
func (d *Document) Left() []string { return slices.Clone(d.left) }

// Name gives the component for the type of sample a name of its own.
func (d *Document) Name(name string, sample any) { d.schemas.names[reflect.TypeOf(sample)] = name }

// Include makes the type of sample a component although no operation has it.
func (d *Document) Include(sample any) { d.schemas.of(sample) }

// Type says what the type of sample looks like in JSON, where that cannot be seen from it.
func (d *Document) Type(sample any, s Schema) { d.schemas.fixed[reflect.TypeOf(sample)] = s }

// Enum says which values a type has.
func Enum[T ~string](d *Document, values ...T) {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	var zero T
	d.Type(zero, Schema{"type": "string", "enum": list})
}

// JSON returns the document.
func (d *Document) JSON() ([]byte, error) {
	paths := map[string]map[string]any{}
	for i := range d.operations {
		o := &d.operations[i]
		if paths[o.path()] == nil {
			paths[o.path()] = map[string]any{}
		}
		paths[o.path()][strings.ToLower(o.Method)] = d.operation(o)
	}
	problemSchema := d.problemSchema()
	components := maps.Clone(d.schemas.components)
	components["Problem"] = problemSchema
	params, headers := d.commons()
	var tags []map[string]string
	for _, t := range d.info.Tags {
		name, doc, _ := strings.Cut(t, ": ")
		tags = append(tags, map[string]string{"name": name, "description": doc})
	}
	return json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": d.info.Title, "version": d.info.Version, "description": d.info.Description,
			"license": map[string]string{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers": []map[string]string{{"url": "/"}},
		"tags":    tags,
		"paths":   paths,
		"components": map[string]any{
			"schemas":    components,
			"parameters": params,
			"headers":    headers,
			"responses":  map[string]any{"Problem": problemResponse("Anything else that went wrong", Schema{"$ref": "#/components/schemas/Problem"})},
			"securitySchemes": map[string]any{
				"key": map[string]string{"type": "http", "scheme": "bearer",
					"description": "An API key, pk_…. On a loopback listener without any key none is needed."},
				"session": map[string]string{"type": "apiKey", "in": "cookie", "name": "perigee_session",
					"description": "Made by POST /session. Unsafe requests carry the session's token as X-CSRF-Token or ?csrf= as well."},
				"events": map[string]string{"type": "http", "scheme": "bearer", "description": "The secret of api.events_secret."},
				"eventsBasic": map[string]string{"type": "http", "scheme": "basic",
					"description": "The secret of api.events_secret as the password, with any name."},
			},
		},
	}, "", " ")
}

func (d *Document) problemSchema() Schema {
	s := d.schemas.object(reflect.TypeFor[problem.Document]())
	var types []string
	var says strings.Builder
	says.WriteString("RFC 9457. The types:\n")
	for _, k := range problem.Kinds() {
		types = append(types, k.Kind.Type())
		statuses := make([]string, len(k.Statuses))
		for i, n := range k.Statuses {
			statuses[i] = strconv.Itoa(n)
		}
		fmt.Fprintf(&says, "\n- `%s` (%s): %s", k.Kind, strings.Join(statuses, ", "), k.Meaning)
	}
	s["properties"].(map[string]Schema)["type"]["enum"] = types
	s["description"] = says.String()
	return s
}

func problemResponse(doc string, s Schema) map[string]any {
	return map[string]any{"description": doc, "content": map[string]any{problem.MediaType: map[string]any{"schema": s}}}
}

func (d *Document) operation(o *Operation) map[string]any {
	out := map[string]any{
		"operationId": o.ID, "tags": []string{o.Tag}, "summary": o.Summary, "responses": d.responses(o),
	}
	doc := o.Doc
	if o.Scope != "" {
		doc = strings.TrimSpace(doc + " Needs the scope `" + o.Scope + "`.")
		out["security"] = []map[string][]string{{"key": {o.Scope}}, {"session": {o.Scope}}, {}}
	}
	for _, scheme := range o.Schemes {
		security, _ := out["security"].([]map[string][]string)
		out["security"] = append(security, map[string][]string{scheme: {}})
	}
	if doc != "" {
		out["description"] = doc
	}
	if len(o.Problems) > 0 {
		out["x-problems"] = o.Problems
	}
	if params := d.parameters(o); len(params) > 0 {
		out["parameters"] = params
	}
	if len(o.Body) > 0 {
		content := map[string]any{}
		for _, b := range o.Body {
			content[b.media()] = map[string]any{"schema": d.body(b, d.schemas.request)}
		}
		out["requestBody"] = map[string]any{"required": !o.BodyOptional, "content": content}
	}
	return out
}

func (c *Content) media() string {
	if c.Media == "" {
		return "application/json"
	}
	return c.Media
}

// body returns the schema of a body; that of bytes says nothing, as OpenAPI 3.1 wants it.
func (d *Document) body(c Content, of func(any) Schema) Schema {
	if c.Type == nil {
		return Schema{}
	}
	return of(c.Type)
}

func (d *Document) parameters(o *Operation) []map[string]any {
	var out []map[string]any
	for _, m := range anyParam.FindAllStringSubmatch(o.Path, -1) {
		doc := pathParams[m[1]]
		if doc == "" {
			panic("openapi: nothing is said of the path parameter " + m[1])
		}
		out = append(out, map[string]any{"in": "path", "name": m[1], "required": true, "description": doc, "schema": Schema{"type": "string"}})
	}
	for _, p := range o.Params {
		out = append(out, d.parameter(p))
	}
	for _, p := range d.params {
		if p.of(o) {
			out = append(out, map[string]any{"$ref": "#/components/parameters/" + p.Name})
		}
	}
	return out
}

func (d *Document) parameter(p Param) map[string]any {
	s := d.schemas.of(p.Type)
	maps.Copy(s, p.Limits)
	out := map[string]any{"in": string(p.In), "name": p.Name, "description": p.Doc, "schema": s}
	if p.Required {
		out["required"] = true
	}
	return out
}

// responses are the successes, the operation's own problems by status, and Problem for the rest.
func (d *Document) responses(o *Operation) map[string]any {
	out := map[string]any{"default": map[string]string{"$ref": "#/components/responses/Problem"}}
	byStatus := map[int][]problem.Kind{}
	for _, k := range o.Problems {
		found, _ := problem.Find(k)
		for _, status := range found.Statuses {
			byStatus[status] = append(byStatus[status], k)
		}
	}
	for status, kinds := range byStatus {
		var names []string
		for _, k := range kinds {
			names = append(names, string(k))
		}
		slices.Sort(names)
		out[strconv.Itoa(status)] = problemResponse(http.StatusText(status)+": "+strings.Join(names, ", "),
			Schema{"$ref": "#/components/schemas/Problem"})
	}
	for _, a := range o.Answers {
		r := map[string]any{"description": a.Doc}
		if !a.Empty {
			r["content"] = map[string]any{a.media(): map[string]any{"schema": d.body(a.Content, d.schemas.of)}}
		}
		if h := d.answerHeaders(o, a); len(h) > 0 {
			r["headers"] = h
		}
		out[strconv.Itoa(a.Status)] = r
	}
	return out
}

func (d *Document) answerHeaders(o *Operation, a Answer) map[string]any {
	h := map[string]any{}
	for name, doc := range a.Headers {
		h[name] = map[string]any{"description": doc, "schema": Schema{"type": "string"}}
	}
	for _, c := range d.headers {
		if c.of(o) {
			h[c.Name] = map[string]any{"$ref": "#/components/headers/" + c.Name}
		}
	}
	return h
}
