package origin_test

import (
	"os"
	"testing"

	"perigee/origin"
	"perigee/origin/origintest"
)

func TestMain(m *testing.M) { origintest.Main(m) }

// TestEmbedded runs the suite against the embedded server, with both checksum policies.
func TestEmbedded(t *testing.T) {
	s := origintest.Start(t)
	for _, policy := range []origin.ChecksumPolicy{origin.ChecksumsSupported, origin.ChecksumsRequired} {
		t.Run(string(policy), func(t *testing.T) {
			origintest.Test(t, func(*testing.T) origin.Config {
				cfg := s.Config()
				cfg.Checksums = policy
				return cfg
			})
		})
	}
}

// TestExternal runs the suite against the S3 that the environment names, to see that configuration alone changes stores. Its
// account must be allowed to create buckets.
func TestExternal(t *testing.T) {
	endpoint := os.Getenv("TEST_S3_ENDPOINT")
	if endpoint == "" {
		t.Skip("TEST_S3_ENDPOINT, TEST_S3_ACCESS_KEY and TEST_S3_SECRET_KEY name no S3 to test")
	}
	origintest.Test(t, func(*testing.T) origin.Config {
		return origin.Config{
			Endpoint:  endpoint,
			AccessKey: os.Getenv("TEST_S3_ACCESS_KEY"),
			SecretKey: os.Getenv("TEST_S3_SECRET_KEY"),
			PathStyle: true,
		}
	})
}
