package client

import (
	"context"
	"encoding/json"
	"fmt"
)

// Description returns the server's description of its API, an OpenAPI 3.1 document.
func (c *Client) Description(ctx context.Context) (json.RawMessage, error) {
	var text json.RawMessage
	if err := c.get(ctx, "/openapi.json", nil, &text); err != nil {
		return nil, fmt.Errorf("description of the API: %w", err)
	}
	return text, nil
}
