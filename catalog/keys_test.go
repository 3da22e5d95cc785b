package catalog_test

import (
	"testing"

	"perigee/keys"
	"perigee/keys/keystest"
)

func TestKeyStoreInSQLite(t *testing.T) {
	keystest.Run(t, func(t *testing.T) (keys.Store, keys.Store) {
		c := openSQLite(t, sqliteConfig(t))
		t.Cleanup(func() { c.Close() })
		return c.KeyStore(), c.KeyStore()
	})
}
