package client

import (
	"io"
	"strings"
	"testing"
)

func TestALentBodyIsNotReadOnceItWasGivenBack(t *testing.T) {
	r := strings.NewReader("0123456789")
	l := &lent{r: r}
	if n, err := l.Read(make([]byte, 4)); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	l.giveBack()
	if n, err := l.Read(make([]byte, 4)); n != 0 || err != io.ErrClosedPipe {
		t.Fatal(n, err)
	}
	if r.Len() != 6 {
		t.Fatalf("%d bytes are left, want 6", r.Len())
	}
}
