package rtt

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"perigee/clock"
)

func TestListenerMeasuresWhatWasDelivered(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	table := New(clock.System)
	ln := Listener{inner, table}
	defer ln.Close()
	exchange := func(b []byte) {
		t.Helper()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			if _, err := server.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(client, b); err != nil {
				t.Fatal(err)
			}
			// What the client sends acknowledges what it read.
			if _, err := client.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(server, b); err != nil {
				t.Fatal(err)
			}
		}
		server.Close()
		server.Close()
	}
	exchange(nil)
	if n := table.Stats().Added; n != 0 {
		t.Errorf("a connection without an answer was measured: %d", n)
	}
	exchange(make([]byte, minDelivered/2))
	if n := table.Stats().Added; n != 0 {
		t.Errorf("a connection with half an answer was measured: %d", n)
	}
	exchange(make([]byte, minDelivered))
	if n := table.Stats().Added; n != 1 {
		t.Errorf("measured %d times", n)
	}
	for range MinReport - 1 {
		exchange(make([]byte, minDelivered))
	}
	got := table.Take(1)
	if len(got) != 1 || got[0].Prefix != netip.MustParsePrefix("127.0.0.0/24") || got[0].Micros == 0 || got[0].Micros > 1_000_000 || got[0].N != MinReport {
		t.Errorf("%v", got)
	}
	if _, ok := Measure(-1); ok {
		t.Error("measured no descriptor")
	}
}

func BenchmarkMeasure(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	raw, err := client.(*net.TCPConn).SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for b.Loop() {
			Measure(int(fd))
		}
	})
}
