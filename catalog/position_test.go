package catalog

import (
	"errors"
	"io/fs"
	"testing"
)

func TestPositionOfStrangers(t *testing.T) {
	c := newCatalog(Config{}, &server{id: "0123456789abcdef"})
	for _, id := range []string{"", "1", "0123456789abcdef", "0123456789abcdef-", "0123456789abcdef-x", "0123456789abcdef-01", "fedcba9876543210-1"} {
		if _, err := c.PositionOf(t.Context(), id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
