package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"perigee/problem"
)

// spec is the API's description as the running server gives it.
type spec struct {
	raw        any
	operations map[string]*specOperation // by operationId
	compiler   *jsonschema.Compiler
}

type specOperation struct {
	method, path string
	Problems     []problem.Kind `json:"x-problems"`
	Parameters   []specParameter
	RequestBody  map[string]any
	Responses    map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]struct{ Schema any }
		Headers map[string]any
	}
}

type specParameter struct {
	In, Name string
	Required bool
}

// pointer is the JSON pointer of an operation in the document.
func (o *specOperation) pointer() string {
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	return "/paths/" + url.PathEscape(escape(o.path)) + "/" + strings.ToLower(o.method)
}

const specURL = "mem:///openapi.json"

// readSpec fetches the description, checks that it is one of OpenAPI 3.1, and compiles it for checking answers.
func readSpec(t *testing.T, text []byte) *spec {
	t.Helper()
	s := &spec{operations: map[string]*specOperation{}, compiler: jsonschema.NewCompiler()}
	var err error
	if s.raw, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	meta, err := os.ReadFile("testdata/oas-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	checkAgainst(t, meta, s.raw)
	var d struct {
		Paths map[string]map[string]*specOperation
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	var ids struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(text, &ids); err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			o.method, o.path = strings.ToUpper(method), path
			s.operations[ids.Paths[path][method].OperationID] = o
		}
	}
	s.compiler.DefaultDraft(jsonschema.Draft2020)
	s.compiler.AssertFormat()
	closed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	closeObjects(closed)
	if err := s.compiler.AddResource(specURL, closed); err != nil {
		t.Fatal(err)
	}
	return s
}

// checkAgainst validates a document by the schema that the OpenAPI Initiative publishes for version 3.1.
func checkAgainst(t *testing.T, meta []byte, doc any) {
	t.Helper()
	m, err := jsonschema.UnmarshalJSON(bytes.NewReader(meta))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	id := m.(map[string]any)["$id"].(string)
	if err := c.AddResource(id, m); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("the description is not OpenAPI 3.1: %v", err)
	}
}

// closeObjects refuses members that a schema does not name, so that an answer with more than is described fails. Clients must not do so: the
// next version may have more.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"].(map[string]any); ok && v["type"] == "object" {
			if _, said := v["additionalProperties"]; !said {
				v["additionalProperties"] = false
			}
		}
		for _, x := range v {
			closeObjects(x)
		}
	case []any:
		for _, x := range v {
			closeObjects(x)
		}
	}
}

// check compares an answer with what the description says of it.
func (s *spec) check(id string, a Answer) error {
	o := s.operations[id]
	status := strconv.Itoa(a.Status)
	media, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.Status >= 400 {
		return s.checkProblem(id, a, media)
	}
	r, ok := o.Responses[status]
	_, tells := r.Headers["Perigee-Consistency"]
	switch {
	case !ok:
		return fmt.Errorf("it answers %d, which is not described", a.Status)
	case tells != (a.Header.Get("Perigee-Consistency") != ""):
		return fmt.Errorf("it answers %d with Perigee-Consistency %q; described is %v", a.Status, a.Header.Get("Perigee-Consistency"), tells)
	case len(r.Content) == 0 && len(a.Body) > 0:
		return fmt.Errorf("it answers %d with a body, which is not described: %.200q", a.Status, a.Body)
	case len(r.Content) == 0:
		return nil
	case err != nil:
		return fmt.Errorf("it answers %d without a media type", a.Status)
	}
	if _, ok := r.Content[media]; !ok {
		return fmt.Errorf("it answers %d with %s, which is not described", a.Status, media)
	}
	if media != "application/json" {
		return nil
	}
	return s.validate(o.pointer()+"/responses/"+status+"/content/application~1json/schema", a.Body)
}

// everywhere are problems that any operation may answer with.
var everywhere = []problem.Kind{"key-required", "key-refused", "scope-required", "internal", "timeout"}

func (s *spec) checkProblem(id string, a Answer, media string) error {
	o := s.operations[id]
	if o.method == "HEAD" {
		return nil // no body says which problem it is
	}
	if media != problem.MediaType {
		return fmt.Errorf("it answers %d with %q, not with a problem: %.200s", a.Status, media, a.Body)
	}
	if err := s.validate("/components/schemas/Problem", a.Body); err != nil {
		return err
	}
	var p problem.Document
	if err := json.Unmarshal(a.Body, &p); err != nil {
		return err
	}
	kind := problem.KindOf(p.Type)
	known, _ := problem.Find(kind)
	switch {
	case p.Status != a.Status || p.RequestID != a.Header.Get("X-Request-Id"):
		return fmt.Errorf("status or request id of the problem are not those of the answer: %s", a.Body)
	case !slices.Contains(o.Problems, kind) && !slices.Contains(everywhere, kind):
		return fmt.Errorf("it answers with the problem %s (%s), which the operation does not list", kind, p.Detail)
	case !slices.Contains(known.Statuses, a.Status):
		return fmt.Errorf("the problem %s has the status %d, which is not listed", kind, a.Status)
	}
	return nil
}

func (s *spec) validate(pointer string, body []byte) error {
	schema, err := s.compiler.Compile(specURL + "#" + pointer)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w: %.200s", err, body)
	}
	if err := schema.Validate(v); err != nil {
		return fmt.Errorf("the body is not as described: %w\n%.2000s", err, body)
	}
	return nil
}
