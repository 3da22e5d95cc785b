package web

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"perigee/openapi"
)

// describe returns the handler of the API's description. It is made at the first request: by then every face has said what it has.
func describe(d *openapi.Document) gin.HandlerFunc {
	text := sync.OnceValues(d.JSON)
	return func(c *gin.Context) {
		b, err := text()
		if err != nil {
			fail(c, http.StatusInternalServerError, "internal", "The description cannot be made: "+err.Error())
			return
		}
		c.Data(http.StatusOK, "application/json", b)
	}
}
