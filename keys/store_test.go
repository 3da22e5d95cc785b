package keys_test

import (
	"path/filepath"
	"testing"

	"perigee/keys"
	"perigee/keys/keystest"
)

func TestFileStore(t *testing.T) {
	keystest.Run(t, func(t *testing.T) (keys.Store, keys.Store) {
		file := filepath.Join(t.TempDir(), "deep", "keys.json")
		return keys.NewFileStore(file), keys.NewFileStore(file)
	})
}
