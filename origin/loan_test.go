package origin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestBodyIsNotReadAfterPart: a request is given up while its body is on its way to a server that takes nothing more. What the caller then puts into the memory must
// never get to the server, though the connection was still being written to.
func TestBodyIsNotReadAfterPart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	begun, goOn, got := make(chan struct{}), make(chan struct{}), make(chan []byte, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		head := make([]byte, 4096)
		n, _ := conn.Read(head)
		close(begun)
		<-goOn
		rest, _ := io.ReadAll(conn)
		got <- append(head[:n], rest...)
	}()
	w, err := NewWriter(t.Context(), Config{
		Endpoint: "http://" + ln.Addr().String(), Bucket: "bucket", AccessKey: "access", SecretKey: "secret-0123456789", PathStyle: true, MaxRetries: -1,
		Wrap: func(rt http.RoundTripper) http.RoundTripper { return rt },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	body := make([]byte, 64<<20) // more than sockets take
	done := make(chan error, 1)
	go func() {
		_, err := w.Part(ctx, "u/00000000000000000000000000000001", "id", 1, body)
		done <- err
	}()
	<-begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("a part that was given up: %v", err)
	}
	for i := range body {
		body[i] = 'x' // what another upload has
	}
	close(goOn)
	select {
	case b := <-got:
		for i, c := range b[max(0, len(b)-1<<20):] {
			if c != 0 && i > 4096 {
				t.Fatal("bytes went out that came into the memory after the end of the request")
			}
		}
	case <-time.After(time.Minute):
		t.Fatal("the connection was not closed")
	}
}
