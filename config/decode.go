package config

import (
	"encoding"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// secretFile is the ending of the twin key that names a file in place of the secret itself.
const secretFile = "_file"

var (
	secretType = reflect.TypeFor[Secret]()
	edgesType  = reflect.TypeFor[[]Edge]()
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decoder reads a merged tree into a Config.
type decoder struct {
	ms      *Mistakes
	origins map[string]string
	edge    *node // what each entry of edges begins with
}

// fieldsOf returns the keys of a struct and the index of each.
func fieldsOf(t reflect.Type) (names []string, index map[string]int) {
	index = map[string]int{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			names = append(names, name)
			index[name] = i
		}
	}
	return names, index
}

func (d *decoder) section(v reflect.Value, n *node, path string) {
	names, index := fieldsOf(v.Type())
	if n.kind == null {
		return
	}
	if n.kind != table {
		d.ms.add(n.where, path, "expected a section with keys such as %s", strings.Join(names[:min(3, len(names))], ", "))
		return
	}
	for _, key := range n.order {
		child := n.table[key]
		if i, ok := index[key]; ok {
			d.value(v.Field(i), child, n, join(path, key))
			continue
		}
		base, isFile := strings.CutSuffix(key, secretFile)
		if i, ok := index[base]; ok && isFile && v.Field(i).Type() == secretType {
			d.secretFromFile(v.Field(i), child, n.table[base], join(path, key))
			continue
		}
		d.ms.add(child.where, join(path, key), "unknown key%s", nearest(key, names))
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// nearest suggests a key of the same section, else the place where a key of that name exists.
func nearest(key string, names []string) string {
	if s := suggest(key, names); s != "" {
		return s
	}
	var elsewhere []string
	for _, k := range schema() {
		if strings.HasSuffix("."+k, "."+key) {
			elsewhere = append(elsewhere, strconv.Quote(k))
		}
	}
	if len(elsewhere) == 0 {
		return "; the keys here are " + strings.Join(names, ", ")
	}
	return "; did you mean " + strings.Join(elsewhere, " or ") + "?"
}

func (d *decoder) value(v reflect.Value, n, parent *node, path string) {
	d.origins[path] = n.where
	t := v.Type()
	switch {
	case t == edgesType:
		d.edges(v, n, path)
	case t == secretType:
		d.secret(v, n, parent, path)
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType):
		d.section(v, n, path)
	case isSections(t):
		d.sections(v, n, path)
	case t.Kind() == reflect.Slice:
		d.slice(v, n, path)
	case n.kind != scalar:
		d.ms.add(n.where, path, "expected %s", expected(t))
	default:
		d.scalar(v, n, path)
	}
}

func expected(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Bytes]():
		return "a size, such as 256MiB"
	case t == reflect.TypeFor[Duration]():
		return "a duration, such as 20s"
	case t.Kind() == reflect.Slice:
		return "a list, such as [a, b]"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	}
	return `a text; write "" for none`
}

func (d *decoder) scalar(v reflect.Value, n *node, path string) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(n.text)); err != nil {
			d.ms.add(n.where, path, "%v", err)
		}
		return
	}
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.text)
	case reflect.Bool:
		v.SetBool(n.text == "true")
		if n.text != "true" && n.text != "false" {
			err = strconv.ErrSyntax
		}
	case reflect.Int:
		var i int64
		i, err = strconv.ParseInt(n.text, 10, 64)
		v.SetInt(i)
	case reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(n.text, 64)
		v.SetFloat(f)
	default:
		panic("config: no reader for " + v.Type().String())
	}
	if err != nil {
		d.ms.add(n.where, path, "expected %s, not %q", expected(v.Type()), n.text)
	}
}

// slice reads a list of scalars. A lone one is a list of one; the environment and --set separate several by commas.
func (d *decoder) slice(v reflect.Value, n *node, path string) {
	items := n.list
	switch {
	case n.kind == scalar && n.layer >= fromEnv:
		for f := range strings.SplitSeq(n.text, ",") {
			if f = strings.TrimSpace(f); f != "" {
				items = append(items, &node{where: n.where, layer: n.layer, text: f})
			}
		}
	case n.kind == scalar && n.text != "":
		items = []*node{n}
	case n.kind != list && n.kind != scalar:
		d.ms.add(n.where, path, "expected %s", expected(v.Type()))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if item.kind != scalar {
			d.ms.add(item.where, path, "expected a list of plain values")
			continue
		}
		d.scalar(out.Index(i), item, path)
	}
	v.Set(out)
}

func (d *decoder) edges(v reflect.Value, n *node, path string) {
	if n.kind != list {
		d.ms.add(n.where, path, "expected a list of edges, each beginning with \"- name: …\"")
		return
	}
	out := make([]Edge, len(n.list))
	for i, item := range n.list {
		name := fmt.Sprintf("%s[%d]", path, i)
		if item.kind == table {
			if nm := item.table["name"]; nm != nil && nm.kind == scalar {
				name = join(path, nm.text)
			} else {
				d.ms.add(item.where, name, "the edge has no name")
			}
			item = d.edge.over(item)
		}
		d.origins[name] = item.where
		d.section(reflect.ValueOf(&out[i]).Elem(), item, name)
	}
	v.Set(reflect.ValueOf(out))
}

// isSections reports whether a type is a list of sections, each with a name.
func isSections(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && !reflect.PointerTo(t.Elem()).Implements(textType)
}

// sections reads a list of sections. Their keys are called by the name of each: "dns.zones.example.org.file".
func (d *decoder) sections(v reflect.Value, n *node, path string) {
	if n.kind != list {
		if n.kind != null {
			d.ms.add(n.where, path, "expected a list in a configuration file, each entry beginning with \"- name: …\"")
		}
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.list), len(n.list))
	seen := map[string]string{}
	for i, item := range n.list {
		name := fmt.Sprintf("%s[%d]", path, i)
		if item.kind == table {
			nm := item.table["name"]
			if nm == nil || nm.kind != scalar || nm.text == "" {
				d.ms.add(item.where, name, "the entry has no name")
			} else if name = join(path, nm.text); seen[name] != "" {
				d.ms.add(item.where, name, "the name is there twice; it was first given at %s", seen[name])
			}
			seen[name] = item.where
		}
		d.origins[name] = item.where
		d.section(out.Index(i), item, name)
	}
	v.Set(out)
}

// secret reads a secret that stands in the configuration itself.
func (d *decoder) secret(v reflect.Value, n, parent *node, path string) {
	key := path[strings.LastIndexByte(path, '.')+1:]
	if twin := parent.table[key+secretFile]; twin != nil && twin.text != "" && twin.layer >= n.layer {
		if twin.layer == n.layer && n.text != "" {
			d.ms.add(n.where, path, "it is given here and as %s%s at %s; keep one", path, secretFile, twin.where)
		}
		return // the twin is read when its turn comes
	}
	if n.kind != scalar {
		d.ms.add(n.where, path, "expected %s", expected(v.Type()))
		return
	}
	v.Set(reflect.ValueOf(NewSecret(n.text)))
}

// maxSecret is the longest secret read from a file, in bytes.
const maxSecret = 64 << 10

// secretFromFile reads the file that n names, unless plain, the secret itself, comes from a higher layer.
func (d *decoder) secretFromFile(v reflect.Value, n, plain *node, path string) {
	if n.kind != scalar {
		d.ms.add(n.where, path, "expected the name of a file")
		return
	}
	if n.text == "" || plain != nil && plain.layer > n.layer {
		return
	}
	d.origins[strings.TrimSuffix(path, secretFile)] = n.where
	b, err := readLimited(n.text, maxSecret)
	if err != nil {
		d.ms.add(n.where, path, "%v", err)
		return
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		d.ms.add(n.where, path, "the file %s is empty", n.text)
		return
	}
	v.Set(reflect.ValueOf(NewSecret(s)))
}

// readLimited reads a file of at most limit bytes.
func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return b, err
}

// schema returns every key that can be set, edges' aside: "api.listen" and so on, twins of secrets included.
func schema() []string {
	var keys []string
	collectKeys(reflect.TypeFor[Config](), "", &keys)
	return keys
}

// edgeKeys returns the keys of one edge.
func edgeKeys() []string {
	var keys []string
	collectKeys(reflect.TypeFor[Edge](), "", &keys)
	return keys
}

func collectKeys(t reflect.Type, path string, keys *[]string) {
	names, index := fieldsOf(t)
	for _, name := range names {
		ft, full := t.Field(index[name]).Type, join(path, name)
		switch {
		case ft == edgesType:
		case ft == secretType:
			*keys = append(*keys, full, full+secretFile)
		case ft.Kind() == reflect.Struct && !reflect.PointerTo(ft).Implements(textType):
			collectKeys(ft, full, keys)
		default:
			*keys = append(*keys, full)
		}
	}
}

func sections() []string {
	var out []string
	for _, k := range schema() {
		for i := strings.LastIndexByte(k, '.'); i > 0; i = strings.LastIndexByte(k[:i], '.') {
			if !slices.Contains(out, k[:i]) {
				out = append(out, k[:i])
			}
		}
	}
	return out
}
