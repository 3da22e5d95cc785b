package web

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// openAPIDocument describes the whole API, with the routes of package upload. A test compares it with the routes here.
//
//go:embed openapi.json
var openAPIDocument []byte

// describeAPI returns the document for a server with or without routes of keys.
func describeAPI(version string, withKeys bool) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(openAPIDocument, &doc); err != nil {
		return nil, err
	}
	doc["info"].(map[string]any)["version"] = version
	if !withKeys {
		paths := doc["paths"].(map[string]any)
		for p := range paths {
			if p == "/api/v1/keys" || strings.HasPrefix(p, "/api/v1/keys/") {
				delete(paths, p)
			}
		}
	}
	return json.Marshal(doc)
}

func (s *Server) openAPI(c *gin.Context) {
	c.Data(http.StatusOK, "application/json", s.description)
}
