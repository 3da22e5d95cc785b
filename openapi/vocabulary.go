package openapi

import (
	"perigee/object"
	"perigee/purge"
)

// pathParams says what the parameters in paths are; the same name means the same everywhere.
var pathParams = map[string]string{
	"site": "The name of a site",
	"path": "The path of a file without its first /; may contain /; each segment is escaped as in a URL",
	"node": "The name of a node",
	"slot": "The number of a slot of the catalogue, 0 to 4095",
	"id":   "As another call of this group has given it",
}

// vocabulary says what the types of package object look like.
func (d *Document) vocabulary() {
	d.Type(object.Site(""), Schema{"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"})
	d.Type(object.Path(""), Schema{"type": "string", "description": "Decoded, beginning with /"})
	d.Type(object.Version(""), Schema{"type": "string", "description": "Opaque; sorts by age within a path"})
	d.Type(object.Hash{}, Schema{"type": "string", "pattern": "^([0-9a-f]{64})?$", "description": "SHA-256; empty of a file that is gone"})
	d.Type(purge.Position{}, Schema{"type": "string", "description": "An opaque place in the log; empty while it is not known"})
	d.Type(object.Active{}, Schema{"anyOf": []Schema{{"type": "boolean"}, {"type": "array", "items": Schema{"type": "string"}}}})
	Enum(d, object.Published, object.Bucket, object.Pull)
	Enum(d, object.Serve, object.Refuse)
	Enum(d, object.Live, object.Gone)
	d.Name("Site", object.SiteRecord{})
}
