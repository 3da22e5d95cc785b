package embedded_test

import (
	"io"
	"net"
	"testing"

	"perigee/origin"
	"perigee/origin/origintest"
)

// TestStopFinishesRequests stops the server while a body is on its way.
func TestStopFinishesRequests(t *testing.T) {
	s := origintest.Start(t)
	addr := s.Child.Addr()
	half, goOn := make(chan struct{}), make(chan struct{})
	cfg := s.Config()
	cfg.MaxRetries = -1
	// More than sockets buffer, so that the server has read of the body: a request it has not seen yet is not under way.
	cfg.Endpoint = "http://" + pausing(t, addr, 24<<20, half, goOn)
	w := writer(t, cfg)
	body := make([]byte, 32<<20)
	result := make(chan error, 1)
	go func() {
		_, err := w.Put(t.Context(), "b/x", body, origin.PutOptions{})
		result <- err
	}()
	<-half
	stopped := make(chan struct{})
	go func() { s.Stop(); close(stopped) }()
	closed(t, addr) // it takes no new connections any more
	close(goOn)
	if err := <-result; err != nil {
		t.Fatalf("the request under way: %v", err)
	}
	<-stopped
	if got := read(t, reader(t, origintest.StartIn(t, s.Root).Config()), "b/x"); len(got) != len(body) {
		t.Fatalf("%d bytes were stored", len(got))
	}
}

// pausing relays one connection to target. After n bytes of it, it closes half and waits for goOn.
func pausing(t *testing.T, target string, n int64, half chan<- struct{}, goOn <-chan struct{}) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		defer server.Close()
		go io.Copy(client, server)
		io.CopyN(server, client, n)
		close(half)
		<-goOn
		io.Copy(server, client)
	}()
	return l.Addr().String()
}
