package embedded_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"perigee/origin/embedded"
	"perigee/origin/origintest"
)

// envParent makes the test binary a parent that starts a server on the directory named and then does nothing.
const envParent = "EMBEDDED_TEST_PARENT"

func TestMain(m *testing.M) {
	if root := os.Getenv(envParent); root != "" {
		beParent(root)
		return
	}
	origintest.Main(m)
}

func beParent(root string) {
	cfg, err := origintest.ChildConfig(root, "127.0.0.1:0", nil)
	if err != nil {
		panic(err)
	}
	child, err := embedded.StartChild(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	fmt.Println(child.Addr())
	select {} // until it is killed
}
