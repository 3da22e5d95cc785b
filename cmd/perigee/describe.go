package main

import (
	"perigee/keys"
	"perigee/openapi"
	"perigee/web"
)

// apiInfo is what the API's description says of the whole; the faces add the operations.
func apiInfo() openapi.Info {
	return openapi.Info{
		Title: "Perigee", Version: version(),
		Description: "The API of a self-hosted CDN. Errors are RFC 9457 problem documents, lists are paged by cursor; docs/api.md shows how to use it.",
		Tags: []string{
			"files: what is published", "uploads: large files, resumable", "sites: which sites there are", "purges: taking files out of caches, with proof",
			"explain: who gets what, and why", "fleet: the nodes", "events: what happens, live", "session: logging in", "keys: who may do what", "audit: who changed what", "catalogue: its servers", "contents: destroying what was published, and what nothing refers to", "description: this document",
		},
	}
}

// describeBeside adds what is answered before a request comes to the routes.
func describeBeside(d *openapi.Document) {
	keys.Describe(d)
	web.DescribeBucketEvents(d)
}
