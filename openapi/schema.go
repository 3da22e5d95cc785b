package openapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema is a JSON Schema (2020-12).
type Schema map[string]any

// schemas turns Go types into schemas as encoding/json encodes them. A named struct becomes a component of its own.
type schemas struct {
	fixed      map[reflect.Type]Schema // types that are said to be something else than they look
	names      map[reflect.Type]string // of components
	components map[string]Schema
}

func newSchemas() *schemas {
	return &schemas{fixed: map[reflect.Type]Schema{}, names: map[reflect.Type]string{}, components: map[string]Schema{}}
}

var (
	timeType      = reflect.TypeFor[time.Time]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
)

// of returns the schema of a value's type; v may be a Schema, or OneOf.
func (s *schemas) of(v any) Schema {
	switch v := v.(type) {
	case nil:
		return Schema{"type": "string"}
	case Schema:
		return maps.Clone(v)
	case OneOf:
		var list []Schema
		for _, x := range v {
			list = append(list, s.of(x))
		}
		return Schema{"anyOf": list}
	}
	return s.typ(reflect.TypeOf(v))
}

// typ returns the schema of a type.
func (s *schemas) typ(t reflect.Type) Schema {
	if f, ok := s.fixed[t]; ok {
		return maps.Clone(f)
	}
	switch {
	case t == timeType:
		return Schema{"type": "string", "format": "date-time"}
	case t == rawType || t.Kind() == reflect.Interface:
		return Schema{}
	case t.Kind() != reflect.Pointer && t.Implements(jsonMarshaler):
		panic(fmt.Sprintf("openapi: %v encodes itself; say by Document.Type what it looks like", t))
	case t.Kind() != reflect.Pointer && t.Implements(textMarshaler):
		return Schema{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(s.typ(t.Elem()))
	case reflect.String:
		return Schema{"type": "string"}
	case reflect.Bool:
		return Schema{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return Schema{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Schema{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return Schema{"type": "integer", "minimum": 0}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Schema{"type": "string", "contentEncoding": "base64"}
		}
		return Schema{"type": "array", "items": s.typ(t.Elem())}
	case reflect.Map:
		return Schema{"type": "object", "additionalProperties": s.typ(t.Elem())}
	case reflect.Struct:
		return s.component(t)
	}
	panic(fmt.Sprintf("openapi: a %v cannot be described", t))
}

// nullable lets a value be null too: what a nil pointer that is not left out becomes.
func nullable(x Schema) Schema {
	if name, ok := x["type"].(string); ok && len(x) == 1 {
		return Schema{"type": []string{name, "null"}}
	}
	return Schema{"anyOf": []Schema{x, {"type": "null"}}}
}

// component returns a reference to the schema of a struct, or that schema itself if the struct has no name.
func (s *schemas) component(t reflect.Type) Schema {
	name := s.names[t]
	if name == "" {
		name = t.Name()
	}
	if name == "" {
		return s.object(t)
	}
	for other, taken := range s.names {
		if taken == name && other != t {
			panic(fmt.Sprintf("openapi: %v and %v would both be %s; name one by Document.Name", t, other, name))
		}
	}
	if _, ok := s.components[name]; !ok {
		s.names[t] = name
		s.components[name] = Schema{} // it may contain itself
		s.components[name] = s.object(t)
	}
	return Schema{"$ref": "#/components/schemas/" + name}
}

// object is the schema of a struct. A field that is not left out when it is empty is always there.
func (s *schemas) object(t reflect.Type) Schema {
	props, required := map[string]Schema{}, []string{}
	for _, f := range fieldsOf(t) {
		of := f.Type
		if !f.always && of.Kind() == reflect.Pointer {
			of = of.Elem() // nil is left out, so it is never null
		}
		p := s.typ(of)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		props[f.name] = p
		if f.always {
			required = append(required, f.name)
		}
	}
	out := Schema{"type": "object", "properties": props}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// field is a member of a struct in JSON.
type field struct {
	reflect.StructField
	name   string
	always bool // also when it is empty
	depth  int  // of embedding
}

// fieldsOf returns what encoding/json encodes of a struct: of several fields with one name the one that is embedded least deep.
func fieldsOf(t reflect.Type) []field {
	var out []field
	at := map[string]int{}
	for _, f := range embedded(t, 0) {
		i, twice := at[f.name]
		switch {
		case !twice:
			at[f.name] = len(out)
			out = append(out, f)
		case f.depth < out[i].depth:
			out[i] = f
		case f.depth == out[i].depth:
			panic(fmt.Sprintf("openapi: %v has two fields that are %s in JSON", t, f.name))
		}
	}
	return out
}

// embedded returns the fields of a struct and of those that are embedded in it.
func embedded(t reflect.Type, depth int) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" && options == "":
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			out = append(out, embedded(f.Type, depth+1)...)
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Pointer:
			panic(fmt.Sprintf("openapi: %v embeds a pointer, whose fields may be there or not", t))
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			left := strings.Split(options, ",")
			always := !slices.Contains(left, "omitempty") && !slices.Contains(left, "omitzero")
			out = append(out, field{f, name, always, depth})
		}
	}
	return out
}

// request is the schema of a JSON body that is read: its own fields may be absent unless their tag says `required:"true"`, and no others are
// taken.
func (s *schemas) request(v any) Schema {
	t := reflect.TypeOf(v)
	if v == nil || t == reflect.TypeFor[Schema]() || t == reflect.TypeFor[OneOf]() || t.Kind() != reflect.Struct {
		return s.of(v)
	}
	out := s.object(t)
	delete(out, "required")
	var required []string
	for _, f := range fieldsOf(t) {
		if f.Tag.Get("required") == "true" {
			required = append(required, f.name)
		}
	}
	if required != nil {
		out["required"] = required
	}
	out["additionalProperties"] = false
	return out
}
