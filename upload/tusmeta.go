package upload

import (
	"encoding/base64"
	"net/http"
	"strings"

	"perigee/object"
)

// maxMetadata is the longest Upload-Metadata that is taken, in bytes.
const maxMetadata = 16 << 10

// named turns metadata into where a file goes and what is said of it. Keys: site; path, or filename below prefix;
// filetype, tags, cache_control. The names that other clients use by habit are known too.
func (p *Publisher) named(meta map[string]string) (site object.Site, path object.Path, a Attributes, err error) {
	pick := func(keys ...string) string {
		for _, k := range keys {
			if v := meta[k]; v != "" && v != "null" { // "null" is how some send that they do not know
				return v
			}
		}
		return ""
	}
	where := pick("site")
	if where == "" {
		where = string(p.cfg.DefaultSite)
	}
	if where == "" {
		return "", "", a, refuse(http.StatusBadRequest, "invalid", `Upload-Metadata has no "site": to which site shall the file go?`)
	}
	if site, err = object.ParseSite(where); err != nil {
		return "", "", a, err
	}
	to := pick("path")
	if to == "" {
		name := pick("relativePath", "filename", "name")
		if name == "" {
			return "", "", a, refuse(http.StatusBadRequest, "invalid", `Upload-Metadata has neither "path" nor "filename": under which path shall the file go?`)
		}
		to = strings.TrimSuffix(pick("prefix"), "/") + "/" + strings.TrimPrefix(name, "/")
	}
	if path, err = object.ParsePath(to); err != nil {
		return "", "", a, err
	}
	if a.Tags, err = object.ParseTags(pick("tags")); err != nil {
		return "", "", a, err
	}
	a.CacheControl = pick("cache_control")
	if a.TypeHint = pick("filetype", "type"); len(a.TypeHint) > 255 {
		a.TypeHint = ""
	}
	return site, path, a, object.ValidateFieldValue("cache_control", a.CacheControl)
}

// parseMetadata reads Upload-Metadata: "key base64,key base64,key".
func parseMetadata(s string) (map[string]string, error) {
	if len(s) > maxMetadata {
		return nil, refuse(http.StatusRequestHeaderFieldsTooLarge, "too-large", "Upload-Metadata is longer than %d bytes.", maxMetadata)
	}
	meta := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		if key == "" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if _, twice := meta[key]; err != nil || twice {
			return nil, refuse(http.StatusBadRequest, "invalid", "Upload-Metadata: the value of %q is not base64, or it is given twice.", clip(key))
		}
		meta[key] = string(b)
	}
	return meta, nil
}
