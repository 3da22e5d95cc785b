package openapi

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"perigee/object"
)

type colour string

type inner struct {
	A int     `json:"a" doc:"A number"`
	B *string `json:"b,omitempty"`
}

type tree struct {
	Name string `json:"name"`
	Kids []tree `json:"kids,omitempty"`
}

// Deep has a field with the name of the type that it is embedded in, and one that is hidden by a field further out.
type Deep struct {
	Node  string `json:"node"`
	Plain int    `json:"plain"`
}

// Node embeds.
type Node struct{ Deep }

type everything struct {
	inner
	Node
	Named  inner              `json:"named"`
	Plain  string             `json:"plain"`
	NoTag  bool               //
	Hidden string             `json:"-"`
	own    int                //
	Null   *float64           `json:"null"`
	Ref    *inner             `json:"ref"`
	When   time.Time          `json:"when,omitzero"`
	IP     netip.Addr         `json:"ip"`
	Hash   object.Hash        `json:"hash"`
	Colour colour             `json:"colour"`
	Map    map[string]float64 `json:"map,omitempty"`
	Count  uint32             `json:"count"`
	Any    any                `json:"any"`
	Bytes  []byte             `json:"bytes"`
	Tree   tree               `json:"tree"`
}

// TestSchemasSayWhatIsEncoded: the schema of a type, and what encoding/json makes of a value of it, agree in every name.
func TestSchemasSayWhatIsEncoded(t *testing.T) {
	d := New(Info{})
	Enum[colour](d, "red", "blue")
	_ = everything{}.own
	s := d.schemas.of(everything{})
	if s["$ref"] != "#/components/schemas/everything" {
		t.Fatal(s)
	}
	got := d.schemas.components["everything"]
	b, err := json.Marshal(everything{When: time.Unix(1, 0), Map: map[string]float64{"x": 1}, inner: inner{B: new(string)}})
	if err != nil {
		t.Fatal(err)
	}
	var encoded map[string]any
	if err := json.Unmarshal(b, &encoded); err != nil {
		t.Fatal(err)
	}
	props := got["properties"].(map[string]Schema)
	for name := range encoded {
		if props[name] == nil {
			t.Errorf("%s is encoded and not described", name)
		}
	}
	for name := range props {
		if _, ok := encoded[name]; !ok {
			t.Errorf("%s is described and not encoded", name)
		}
	}
	for name, want := range map[string]Schema{
		"a": {"type": "integer", "description": "A number"}, "b": {"type": "string"}, "named": {"$ref": "#/components/schemas/inner"},
		"NoTag": {"type": "boolean"}, "null": {"type": []string{"number", "null"}},
		"ref":  {"anyOf": []Schema{{"$ref": "#/components/schemas/inner"}, {"type": "null"}}},
		"when": {"type": "string", "format": "date-time"}, "ip": {"type": "string"}, "colour": {"type": "string", "enum": []string{"red", "blue"}},
		"map": {"type": "object", "additionalProperties": Schema{"type": "number"}}, "count": {"type": "integer", "minimum": 0}, "any": {}, "node": {"type": "string"}, "plain": {"type": "string"},
		"bytes": {"type": "string", "contentEncoding": "base64"}, "tree": {"$ref": "#/components/schemas/tree"},
	} {
		if !reflect.DeepEqual(props[name], want) {
			t.Errorf("%s: %v, want %v", name, props[name], want)
		}
	}
	required := strings.Join(got["required"].([]string), " ")
	if !sameWords(required, "a node named plain NoTag null ref ip hash colour count any bytes tree") {
		t.Errorf("required: %s", required)
	}
	kids := d.schemas.components["tree"]["properties"].(map[string]Schema)["kids"]
	if !reflect.DeepEqual(kids, Schema{"type": "array", "items": Schema{"$ref": "#/components/schemas/tree"}}) {
		t.Errorf("a type that contains itself: %v", kids)
	}
}

func sameWords(a, b string) bool {
	count := func(s string) map[string]int {
		m := map[string]int{}
		for _, w := range strings.Fields(s) {
			m[w]++
		}
		return m
	}
	return reflect.DeepEqual(count(a), count(b))
}

func TestRequestsDemandLittleAndTakeNoMore(t *testing.T) {
	type body struct {
		Must string   `json:"must" required:"true"`
		May  []string `json:"may"`
	}
	s := New(Info{}).schemas.request(body{})
	if !reflect.DeepEqual(s["required"], []string{"must"}) || s["additionalProperties"] != false {
		t.Error(s)
	}
}

func TestRoutes(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/sites": "/api/v1/sites", "/api/v1/sites/{site}/files/{path...}": "/api/v1/sites/:site/files/*path",
		"/api/v1/sites/{site}/files/{path...}/versions": "/api/v1/sites/:site/files/*path", "/api/v1/fleet/{node}/drain": "/api/v1/fleet/:node/drain",
	} {
		if got := (&Operation{Path: path}).Route(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestMistakesOfTheProgram: what cannot be described stops the program at its start.
func TestMistakesOfTheProgram(t *testing.T) {
	good := Operation{Method: "GET", Path: "/x", ID: "getX", Tag: "x", Summary: "X", Answers: []Answer{{Status: 200, Doc: "X"}}}
	for name, change := range map[string]func(*Operation){
		"no ID": func(o *Operation) { o.ID = "" }, "no tag": func(o *Operation) { o.Tag = "" }, "full stop": func(o *Operation) { o.Summary = "X." },
		"no answer": func(o *Operation) { o.Answers = nil }, "no such problem": func(o *Operation) { o.Problems = append(o.Problems, "nonsense") },
		"no such status": func(o *Operation) { o.Answers = []Answer{{Status: 299, Doc: "X"}} }, "the same again": func(*Operation) {},
	} {
		d := New(Info{})
		d.Add(good)
		other := good
		other.Path, other.ID = "/y", "getY"
		if name == "the same again" {
			other = good
		}
		change(&other)
		if !panics(func() { d.Add(other) }) {
			t.Errorf("%s: taken", name)
		}
	}
	d := New(Info{})
	if !panics(func() { d.schemas.of(struct{ C chan int }{}) }) {
		t.Error("a channel was described")
	}
	d.Name("inner", tree{})
	if !panics(func() { d.schemas.of(inner{}) }) {
		t.Error("two types have one name")
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
