// Command serve answers every request with 1 KB, by the fast lane or by net/http, for measurements from outside:
//
//	GOMAXPROCS=1 taskset -c 0 serve lane 127.0.0.1:8001 &
//	taskset -c 1 wrk -t1 -c64 -d10 http://127.0.0.1:8001/x
//	cat /proc/PID/stat
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"perigee/clock"
	"perigee/edge/lane"
)

var (
	body = make([]byte, 1024)
	head = []byte("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n")
)

type handler struct{}

func (handler) Hot(r *lane.Request, w *lane.Reply) bool {
	if string(r.Target) == "/slow" {
		return false
	}
	w.Append(head, body)
	return true
}

func (handler) Serve(_ context.Context, _ *lane.Request, w *lane.Writer) {
	w.Head(head)
	w.Write(body)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ln, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if os.Args[1] == "lane" {
		l := lane.New(lane.Config{Handler: handler{}, Clock: clock.System, Fallback: func(c net.Conn) { c.Close() }})
		if err := l.Serve(ctx, ln, time.Second); err != nil {
			log.Fatal(err)
		}
		return
	}
	log.Fatal(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Length", "1024")
		w.Write(body)
	})))
}
