package config

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// YAML returns the configuration in effect as a file that Load reads, but for its secrets, which are masked. With
// origins each key is followed by where its value comes from.
func (c *Config) YAML(origins bool) (string, error) {
	var root yaml.Node
	if err := root.Encode(c); err != nil {
		return "", fmt.Errorf("show configuration: %w", err)
	}
	if origins {
		c.annotate(&root, "")
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&root); err != nil {
		return "", fmt.Errorf("show configuration: %w", err)
	}
	return b.String(), nil
}

// annotate writes each value's origin behind it.
func (c *Config) annotate(n *yaml.Node, path string) {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		key, v := join(path, n.Content[i].Value), n.Content[i+1]
		switch {
		case v.Kind == yaml.MappingNode:
			c.annotate(v, key)
		case key == "edges":
			for j, e := range v.Content {
				c.annotate(e, "edges."+c.Edges[j].Name)
			}
		case v.Kind == yaml.SequenceNode && len(v.Content) > 0:
			n.Content[i].LineComment = c.origins[key]
		default:
			v.LineComment = c.origins[key]
		}
	}
}

// Map returns the configuration in effect as nested maps, secrets masked, for JSON.
func (c *Config) Map() (map[string]any, error) {
	text, err := c.YAML(false)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		return nil, fmt.Errorf("show configuration: %w", err)
	}
	return m, nil
}
