package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Default returns the configuration of `perigee up` without any file.
func Default() *Config {
	c, err := load("", nil, nil, nil)
	if err != nil {
		panic("config: the built-in configuration is wrong: " + err.Error())
	}
	return c
}

// Load returns the configuration: the defaults, the file (none if path is ""), then the variables PERIGEE_… among env
// ("NAME=value"), then sets ("key=value"), each over the one before. An empty variable counts as not given. It
// reads the files that keys ending in _file name. The error, if not one of reading path, is Mistakes.
func Load(path string, env, sets []string) (*Config, error) {
	var b []byte
	if path != "" {
		var err error
		if b, err = readLimited(path, maxFile); err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
	}
	return load(path, b, env, sets)
}

func load(path string, file []byte, env, sets []string) (*Config, error) {
	var ms Mistakes
	tree := parseTree("default.yaml", []byte(DefaultYAML), fromDefault, &ms)
	if file != nil {
		tree = tree.over(parseTree(path, file, fromFile, &ms))
	}
	overlayEnv(tree, env, &ms)
	overlaySets(tree, sets, &ms)

	c := &Config{origins: map[string]string{}}
	d := decoder{ms: &ms, origins: c.origins, edge: tree.table["edge"]}
	d.section(reflect.ValueOf(c).Elem(), tree, "")
	if err := ms.err(); err != nil {
		return nil, err
	}
	c.usePreset()
	c.resolve()
	return c, nil
}

// Origin says where a key's value comes from: "perigee.yaml:12", "PERIGEE_API_LISTEN", "--set api.listen", or
// "default.yaml:30" for a default.
func (c *Config) Origin(key string) string { return c.origins[key] }

// envPrefix begins the variables that are ours.
const envPrefix = "PERIGEE_"

// otherEnv are variables of ours that are no keys: they belong to the command line's client.
var otherEnv = []string{"PERIGEE_CONFIG", "PERIGEE_URL", "PERIGEE_KEY", "PERIGEE_KEY_FILE"}

// serviceLink matches the variables that Kubernetes sets in every container for a service named perigee-something.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_.*)?)$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// overlayEnv lays the variables over the tree.
func overlayEnv(tree *node, env []string, ms *Mistakes) {
	keys := map[string]string{}
	for _, k := range settable(tree) {
		keys[envName(k)] = k
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || slices.Contains(otherEnv, name) {
			continue
		}
		key, ok := keys[name]
		if !ok {
			if !serviceLink.MatchString(name) {
				ms.add(name, "", "no key has this name%s", suggest(name, slices.Sorted(maps.Keys(keys))))
			}
			continue
		}
		set(tree, key, &node{where: name, layer: fromEnv, text: value})
	}
}

// overlaySets lays "key=value" pairs over the tree.
func overlaySets(tree *node, sets []string, ms *Mistakes) {
	keys := settable(tree)
	for _, kv := range sets {
		key, value, ok := strings.Cut(kv, "=")
		where := "--set " + key
		switch {
		case !ok:
			ms.add(where, "", "write it as key=value, for example --set api.listen=127.0.0.1:8080")
		case slices.Contains(keys, key):
			set(tree, key, &node{where: where, layer: fromSet, text: value})
		case key == "edges" || slices.Contains(sections(), key):
			ms.add(where, "", "%s is a section; set one of its keys%s", key, firstBelow(key, keys))
		default:
			ms.add(where, "", "unknown key%s", suggest(key, keys))
		}
	}
}

func firstBelow(section string, keys []string) string {
	for _, k := range keys {
		if strings.HasPrefix(k, section+".") {
			return ", such as " + k
		}
	}
	return ""
}

// settable returns every key that can be set: the schema's, and "edges.<name>.<key>" for each edge of the tree.
func settable(tree *node) []string {
	keys := schema()
	for _, e := range edgeEntries(tree) {
		for _, k := range edgeKeys() {
			keys = append(keys, "edges."+e.table["name"].text+"."+k)
		}
	}
	return keys
}

// edgeEntries returns the entries of edges that have a name.
func edgeEntries(tree *node) []*node {
	edges := tree.table["edges"]
	if edges == nil || edges.kind != list {
		return nil
	}
	var out []*node
	for _, e := range edges.list {
		if e.kind == table && e.table["name"] != nil && e.table["name"].kind == scalar {
			out = append(out, e)
		}
	}
	return out
}

// set puts v into the tree at a key that settable knows.
func set(tree *node, key string, v *node) {
	at := tree
	if rest, ok := strings.CutPrefix(key, "edges."); ok {
		for _, e := range edgeEntries(tree) {
			if k, ok := strings.CutPrefix(rest, e.table["name"].text+"."); ok {
				at, key = e, k
				break
			}
		}
	}
	for {
		head, rest, more := strings.Cut(key, ".")
		if !more {
			at.put(head, v)
			return
		}
		child := at.table[head]
		if child == nil || child.kind != table {
			if child != nil && child.kind != null {
				return // the section is not one, which is reported when it is read
			}
			child = newTable(v.where, v.layer)
			at.put(head, child)
		}
		at, key = child, rest
	}
}
