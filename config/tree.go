package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// node is a value before it is known what it should be: the layers of configuration are laid over one another as
// trees, and each node remembers where it was written.
type node struct {
	kind  kind
	where string // "perigee.yaml:12", "PERIGEE_API_LISTEN", "--set api.listen"
	layer layer
	text  string           // of a scalar
	list  []*node          // of a list
	table map[string]*node // of a table
	order []string         // the table's keys as written
}

type kind int

const (
	scalar kind = iota
	null
	list
	table
)

// layer is where a value comes from; a higher one wins.
type layer int

const (
	fromDefault layer = iota
	fromFile
	fromEnv
	fromSet
)

func newTable(where string, l layer) *node {
	return &node{kind: table, where: where, layer: l, table: map[string]*node{}}
}

func (n *node) put(key string, v *node) {
	if _, ok := n.table[key]; !ok {
		n.order = append(n.order, key)
	}
	n.table[key] = v
}

// over returns the tree of n with m laid over it. Tables are merged key by key, everything else is replaced.
func (n *node) over(m *node) *node {
	if n == nil || m.kind != table || n.kind != table {
		if m.kind == null && n != nil && n.kind == table {
			return n // a section that is written and left empty changes nothing
		}
		return m
	}
	sum := newTable(m.where, m.layer)
	for _, k := range n.order {
		sum.put(k, n.table[k])
	}
	for _, k := range m.order {
		sum.put(k, sum.table[k].over(m.table[k]))
	}
	return sum
}

const (
	maxFile  = 1 << 20 // bytes of a configuration file
	maxDepth = 16
)

// parseTree reads one YAML document. Mistakes go to ms; the tree has what could be read.
func parseTree(name string, b []byte, l layer, ms *Mistakes) *node {
	root := newTable(name, l)
	if len(b) > maxFile {
		ms.add(name, "", "the file has %d bytes, the limit is %d", len(b), maxFile)
		return root
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file says nothing, which is fine
			where, what := syntaxError(name, err)
			ms.add(where, "", "%s", what)
		}
		return root
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			where, what := syntaxError(name, err)
			ms.add(where, "", "%s", what)
		} else {
			ms.add(at(name, more.Line), "", "a second document begins here; one file is one document")
		}
	}
	p := parser{name, l, ms}
	n := p.convert(doc.Content[0], doc.Content[0].Line, nil)
	switch n.kind {
	case table:
		return n
	case null:
		return root
	}
	ms.add(n.where, "", "expected sections such as \"api:\", not a single value")
	return root
}

var yamlLine = regexp.MustCompile(`^yaml: (?:.*?)line (\d+): (.*)$`)

// syntaxError turns the YAML parser's message into a place and a sentence.
func syntaxError(name string, err error) (where, what string) {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return name + ":" + m[1], "this is not YAML: " + m[2]
	}
	return name, "this is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
}

func at(name string, line int) string { return fmt.Sprintf("%s:%d", name, line) }

type parser struct {
	name  string
	layer layer
	ms    *Mistakes
}

// convert turns a YAML node into ours; line is where its key stands, path the keys that lead to it.
func (p parser) convert(y *yaml.Node, line int, path []string) *node {
	n := &node{where: at(p.name, line), layer: p.layer}
	if len(path) > maxDepth {
		p.ms.add(n.where, "", "sections are nested deeper than %d levels", maxDepth)
		n.kind = null
		return n
	}
	switch y.Kind {
	case yaml.ScalarNode:
		n.text = y.Value
		if y.Tag == "!!null" {
			n.kind = null
		}
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.list = append(n.list, p.convert(item, item.Line, append(path, strconv.Itoa(i))))
		}
	case yaml.MappingNode:
		p.convertTable(n, y, path)
	default:
		p.ms.add(n.where, "", "YAML aliases (*name) are not supported; write the value out")
		n.kind = null
	}
	return n
}

func (p parser) convertTable(n *node, y *yaml.Node, path []string) {
	n.kind, n.table = table, map[string]*node{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			p.ms.add(at(p.name, k.Line), "", "a key must be a plain word")
			continue
		}
		if first, ok := n.table[k.Value]; ok {
			p.ms.add(at(p.name, k.Line), strings.Join(append(path, k.Value), "."), "the key is there twice; it was first given at %s", first.where)
			continue
		}
		n.put(k.Value, p.convert(v, k.Line, append(path, k.Value)))
	}
}
