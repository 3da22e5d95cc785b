package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// preset is what is usual with one make of S3, for those keys of the section storage that the configuration does not set.
type preset struct {
	region    string
	pathStyle bool
	checksums string
	endpoint  string // what an endpoint looks like, for whoever has to write it; empty if there is none to write
}

// presets are what storage.preset may name. docs/storage.md says which were tested, and where the others come from.
func presets() map[string]preset {
	const supported, required = "supported", "required"
	return map[string]preset{
		"generic":   {"us-east-1", true, required, "https://host:port"},
		"aws":       {"", false, supported, ""},
		"minio":     {"us-east-1", true, supported, "http://host:9000"},
		"ceph":      {"us-east-1", true, required, "http://host:7480"},
		"seaweedfs": {"us-east-1", true, required, "http://host:8333"},
		"r2":        {"auto", true, required, "https://<account id>.r2.cloudflarestorage.com"},
	}
}

// usePreset lays the preset under what was set: a key whose value is still that of default.yaml takes the preset's.
func (c *Config) usePreset() {
	p, ok := presets()[c.Storage.Preset]
	if !ok {
		return // none, or a mistake that Validate reports
	}
	s := &c.Storage
	for key, use := range map[string]func(){
		"storage.endpoint":   func() { s.Endpoint = "" },
		"storage.region":     func() { s.Region = p.region },
		"storage.path_style": func() { s.PathStyle = p.pathStyle },
		"storage.checksums":  func() { s.Checksums = p.checksums },
	} {
		if isDefault(c.origins[key]) {
			use()
			c.origins[key] = "storage.preset " + strconv.Quote(s.Preset)
		}
	}
}

func isDefault(origin string) bool { return strings.HasPrefix(origin, "default.yaml:") }

// preset checks the preset, and that what it cannot know was said.
func (v validator) preset() {
	s := v.c.Storage
	if s.Preset == "" {
		return
	}
	all := presets()
	p, ok := all[s.Preset]
	if !ok {
		v.oneOf("storage.preset", s.Preset, slices.Sorted(maps.Keys(all))...)
		return
	}
	if s.Endpoint == "" && p.endpoint != "" {
		v.bad("storage.endpoint", "%s has an address of your own; write it as %s", s.Preset, p.endpoint)
	}
	if s.Endpoint == "" && s.Region == "" {
		v.bad("storage.region", "AWS needs the bucket's region, such as eu-central-1")
	}
}
