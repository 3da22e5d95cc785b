package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"perigee/object"
)

// ReadSites reads a file that declares sites: a list in YAML, or in JSON, each entry as the API takes it. The error, if not one of reading the
// file, is Mistakes.
func ReadSites(path string) ([]object.SiteRecord, error) {
	var sites []object.SiteRecord
	hosts := map[object.Host]object.Site{}
	err := readList(path, reflect.TypeFor[object.SiteDeclaration](), func(entry []byte) error {
		var d object.SiteDeclaration
		if err := unmarshalEntry(entry, &d); err != nil {
			return err
		}
		r, err := d.Record()
		if err == nil {
			stored := r
			stored.Version = object.NextVersion(time.UnixMicro(1), 0, "") // whoever stores it sets the real one
			err = stored.Validate()
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(sites, func(s object.SiteRecord) bool { return s.Site == r.Site }) {
			return fmt.Errorf("site %s is declared twice", r.Site)
		}
		for _, h := range r.Hosts {
			if other, taken := hosts[h]; taken {
				return fmt.Errorf("host %s belongs to site %s already", h, other)
			}
			hosts[h] = r.Site
		}
		sites = append(sites, r)
		return nil
	})
	return sites, err
}

// ReadRules reads a file of rules for paths, as ReadSites reads sites.
func ReadRules(path string) ([]object.Rule, error) {
	var rules []object.Rule
	err := readList(path, reflect.TypeFor[object.Rule](), func(entry []byte) error {
		var r object.Rule
		if err := unmarshalEntry(entry, &r); err != nil {
			return err
		}
		rules = append(rules, r)
		if len(rules) > object.MaxRules {
			return fmt.Errorf("it is rule %d, at most %d are possible", len(rules), object.MaxRules)
		}
		return r.Validate()
	})
	return rules, err
}

// readList hands each entry of the list in a file to take, as JSON. What the schema does not know is a mistake.
func readList(path string, schema reflect.Type, take func(entry []byte) error) error {
	var ms Mistakes
	root, err := readDocument(path, &ms)
	if err != nil || root == nil {
		return errors.Join(err, ms.err())
	}
	if root.Kind != yaml.SequenceNode {
		ms.add(at(path, root.Line), "", "expected a list, each entry of which begins with \"- \"")
		return ms.err()
	}
	for _, entry := range root.Content {
		takeEntry(path, entry, schema, take, &ms)
	}
	return ms.err()
}

// readTable is readList for a file that is one entry.
func readTable(path string, schema reflect.Type, take func(entry []byte) error) error {
	var ms Mistakes
	root, err := readDocument(path, &ms)
	if err != nil || root == nil {
		return errors.Join(err, ms.err())
	}
	if root.Kind != yaml.MappingNode {
		ms.add(at(path, root.Line), "", "expected keys with values, such as \"names: [www]\"")
		return ms.err()
	}
	takeEntry(path, root, schema, take, &ms)
	return ms.err()
}

// readDocument reads the one YAML document of a file; nil if it is empty, or wrong, which ms then says.
func readDocument(path string, ms *Mistakes) (*yaml.Node, error) {
	b, err := readLimited(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read declarations: %w", err)
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		where, what := syntaxError(path, err)
		ms.add(where, "", "%s", what)
		return nil, nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		ms.add(at(path, more.Line), "", "a second document begins here; one file is one document")
		return nil, nil
	}
	return doc.Content[0], nil
}

// takeEntry hands one entry to take, unless something is wrong with its form.
func takeEntry(path string, entry *yaml.Node, schema reflect.Type, take func(entry []byte) error, ms *Mistakes) {
	before := len(*ms)
	v := declReader{name: path, ms: ms}.value(entry, schema, nil)
	if len(*ms) > before {
		return
	}
	j, err := json.Marshal(v)
	if err == nil {
		err = take(j)
	}
	if err != nil {
		ms.add(at(path, entry.Line), "", "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
}

// unmarshalEntry decodes an entry whose keys were checked.
func unmarshalEntry(b []byte, to any) error {
	err := json.Unmarshal(b, to)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s must be %s, and is a %s", wrong.Field, wanted(wrong.Type), wrong.Value)
	}
	return err
}

// wanted words a type for people.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "text"
	}
	return "a section"
}

// declReader turns YAML into what encoding/json reads, along a Go type with json tags.
type declReader struct {
	name string
	ms   *Mistakes
}

// value converts y. t is nil where the schema has nothing to say any more.
func (r declReader) value(y *yaml.Node, t reflect.Type, path []string) any {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	key := strings.Join(path, ".")
	if len(path) > maxDepth {
		r.ms.add(at(r.name, y.Line), key, "this is nested deeper than %d levels", maxDepth)
		return nil
	}
	switch y.Kind {
	case yaml.MappingNode:
		return r.table(y, t, path)
	case yaml.SequenceNode:
		out := make([]any, 0, len(y.Content))
		for i, item := range y.Content {
			out = append(out, r.value(item, elem(t), append(path, strconv.Itoa(i))))
		}
		return out
	case yaml.ScalarNode:
		if t != nil && t.Kind() == reflect.String && y.Tag != "!!null" {
			return y.Value // 404 and yes are text where text is wanted
		}
		var v any
		if err := y.Decode(&v); err != nil {
			r.ms.add(at(r.name, y.Line), key, "%q cannot be read", y.Value)
		}
		return v
	}
	r.ms.add(at(r.name, y.Line), key, "anchors and aliases are not read here")
	return nil
}

// table converts a mapping, and reports keys that t does not have.
func (r declReader) table(y *yaml.Node, t reflect.Type, path []string) any {
	fields := map[string]reflect.Type{}
	known := t != nil && t.Kind() == reflect.Struct
	if known {
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			ft := t.Field(i).Type
			if ft == reflect.TypeFor[time.Duration]() { // people write 5ms, and not 5000000 of step_ns
				name = strings.TrimSuffix(name, "_ns")
			}
			if name != "-" {
				fields[name] = ft
			}
		}
	}
	out := map[string]any{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := y.Content[i]
		below := append(path, k.Value)
		ft, ok := fields[k.Value]
		switch {
		case known && !ok:
			r.ms.add(at(r.name, k.Line), strings.Join(below, "."), "unknown key%s", suggest(k.Value, slices.Sorted(maps.Keys(fields))))
			continue
		case !known:
			ft = elem(t)
		}
		if _, twice := out[k.Value]; twice {
			r.ms.add(at(r.name, k.Line), strings.Join(below, "."), "it is given twice")
			continue
		}
		if ft == reflect.TypeFor[time.Duration]() {
			out[k.Value+"_ns"] = r.duration(y.Content[i+1], below)
			out[k.Value] = nil
			continue
		}
		out[k.Value] = r.value(y.Content[i+1], ft, below)
	}
	return out
}

// duration converts a text such as 5ms to nanoseconds.
func (r declReader) duration(y *yaml.Node, path []string) any {
	d, err := time.ParseDuration(y.Value)
	if y.Kind != yaml.ScalarNode || err != nil {
		r.ms.add(at(r.name, y.Line), strings.Join(path, "."), "%q is no duration, such as 500ms, 10s or 5m", y.Value)
	}
	return int64(d)
}

// elem returns the type of a list's or table's members, nil if t is neither.
func elem(t reflect.Type) reflect.Type {
	if t == nil || t.Kind() != reflect.Slice && t.Kind() != reflect.Map {
		return nil
	}
	return t.Elem()
}
