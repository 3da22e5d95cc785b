package config

import (
	"strings"
	"testing"
)

func TestPresets(t *testing.T) {
	for _, c := range []struct {
		sets []string
		want Storage
		bad  string // what Validate says, if anything
	}{
		{[]string{"storage.preset=aws", "storage.region=eu-central-1"}, Storage{Region: "eu-central-1", Checksums: "supported"}, ""},
		{[]string{"storage.preset=aws"}, Storage{Checksums: "supported"}, "AWS needs the bucket's region"},
		{[]string{"storage.preset=minio", "storage.endpoint=http://127.0.0.1:9000"},
			Storage{Endpoint: "http://127.0.0.1:9000", Region: "us-east-1", PathStyle: true, Checksums: "supported"}, ""},
		{[]string{"storage.preset=r2", "storage.endpoint=https://x.r2.cloudflarestorage.com"},
			Storage{Endpoint: "https://x.r2.cloudflarestorage.com", Region: "auto", PathStyle: true, Checksums: "required"}, ""},
		{[]string{"storage.preset=r2"}, Storage{Region: "auto", PathStyle: true, Checksums: "required"}, "r2.cloudflarestorage.com"},
		{[]string{"storage.preset=ceph", "storage.endpoint=http://rgw:7480", "storage.path_style=false", "storage.checksums=supported", "storage.region=here"},
			Storage{Endpoint: "http://rgw:7480", Region: "here", Checksums: "supported"}, ""},
		{[]string{"storage.preset=seaweedfs", "storage.endpoint=http://s:8333"},
			Storage{Endpoint: "http://s:8333", Region: "us-east-1", PathStyle: true, Checksums: "required"}, ""},
		{[]string{"storage.preset=generic", "storage.endpoint=http://s:1"},
			Storage{Endpoint: "http://s:1", Region: "us-east-1", PathStyle: true, Checksums: "required"}, ""},
	} {
		cfg, err := Load("", nil, c.sets)
		if err != nil {
			t.Fatal(err)
		}
		s := cfg.Storage
		if s.Endpoint != c.want.Endpoint || s.Region != c.want.Region || s.PathStyle != c.want.PathStyle || s.Checksums != c.want.Checksums {
			t.Errorf("%v gives %+v", c.sets, s)
		}
		if s.IsEmbedded() {
			t.Errorf("%v runs the embedded server", c.sets)
		}
		err = cfg.Validate()
		if c.bad == "" && err != nil || c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%v: %v", c.sets, err)
		}
	}
	cfg, err := Load("", nil, []string{"storage.preset=minoi", "storage.endpoint=http://s:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "minio") {
		t.Errorf("a preset that there is not: %v", err)
	}
}

// TestPresetShowsItself: whoever asks where a value comes from is told of the preset.
func TestPresetShowsItself(t *testing.T) {
	cfg, err := Load("", nil, []string{"storage.preset=r2", "storage.region=weur"})
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Origin("storage.checksums"); got != `storage.preset "r2"` {
		t.Errorf("checksums come from %s", got)
	}
	if got := cfg.Origin("storage.region"); got != "--set storage.region" {
		t.Errorf("the region comes from %s", got)
	}
}
