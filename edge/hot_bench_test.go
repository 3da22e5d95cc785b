package edge

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"perigee/clock"
	"perigee/edge/accesslog"
	"perigee/edge/cache/cachetest"
	"perigee/edge/lane"
	"perigee/object"
	"perigee/purge"
)

func BenchmarkHot(b *testing.B) {
	o := cachetest.NewOrigin()
	p := o.Publish("www", "/file", 1, cachetest.Bytes(1024, 1))
	e := newEngine(b, o, nil)
	e.Confirm(clock.System.Now())
	e.Apply(purge.Record{Entry: purge.Entry{Format: 1, ID: "e", Site: "www", Kind: purge.KindRules, Record: cachetest.Site("www", "www.example")}, Position: purge.At("one", purge.Mark{Stream: "s", Seq: 1})})
	for _, logged := range []bool{false, true} {
		var access *accesslog.Log
		if logged {
			access, _ = accesslog.Open(accesslog.Config{Path: "-", Stdout: io.Discard, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
			ctx, cancel := context.WithCancel(b.Context())
			go access.Run(ctx)
			defer cancel()
		}
		s := NewServer(ServerConfig{Node: "fra", Engine: e, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Access: access})
		for range 3 {
			x := &exchange{s: s, ctx: b.Context(), out: discard{}, req: request{method: "GET", host: "www.example", path: "/file"}}
			x.serve()
		}
		for name, r := range map[string]*lane.Request{
			"get":   {Target: []byte("/file?x"), Host: []byte("www.example:8100"), Minor: 1},
			"304":   {Target: []byte("/file"), Host: []byte("www.example"), Minor: 1, IfNoneMatch: []byte(p.Hash.ETag())},
			"ims":   {Target: []byte("/file"), Host: []byte("www.example"), Minor: 1, IfModifiedSince: []byte("Wed, 25 Nov 2099 00:00:00 GMT")},
			"range": {Target: []byte("/file"), Host: []byte("www.example"), Minor: 1, Range: []byte("bytes=5-7")},
		} {
			b.Run(name, func(b *testing.B) {
				var w lane.Reply
				b.ReportAllocs()
				r.Received = clock.System.Now()
				for b.Loop() {
					w = lane.Reply{}
					if !(onLane{s}).Hot(r, &w) {
						b.Fatal("not hot")
					}
				}
			})
		}
	}
}

type discard struct{}

func (discard) begin(int, fields)           {}
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) end()                        {}
func (discard) abort()                      {}

var _ object.Site
