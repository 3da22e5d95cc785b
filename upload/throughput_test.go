package upload

import (
	"context"
	"io"
	"sync"
	"testing"

	"perigee/object"
	"perigee/origin"
)

// BenchmarkThroughput sends one large file: straight to the bucket as a multipart upload of the same parts, as many at a time, which is
// what an upload through the API is measured against; then by PUT and by tus. Client, API and storage share the machine.
func BenchmarkThroughput(b *testing.B) {
	const size = 512 << 20
	bench := newBench(b, Config{})
	for _, c := range []struct {
		name string
		send func(i int)
	}{
		{"multipart", func(i int) { bench.multipart(size) }},
		{"PUT", func(i int) {
			if a := bench.call("PUT", "/api/v1/sites/www/files/put", sized{io.LimitReader(newLoop(), size), size}); a.status != 200 && a.status != 201 {
				b.Fatalf("%d %s", a.status, a.body)
			}
		}},
		{"tus", func(i int) {
			bench.want(bench.call("PATCH", bench.create("/tus", size), sized{io.LimitReader(newLoop(), size), size},
				"Tus-Resumable", "1.0.0", "Content-Type", chunkType, "Upload-Offset", "0"), 204)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			for i := range b.N {
				c.send(i)
			}
		})
	}
}

// multipart uploads to the bucket without the API.
func (b *bench) multipart(size int64) {
	b.t.Helper()
	ctx := context.Background()
	key := object.UploadKey(newUploadID("www", "/direct"))
	id, err := b.writer.Create(ctx, key, "")
	b.must(err)
	part := int64(partSize(size))
	parts := make([]origin.Part, size/part)
	places := make(chan struct{}, partsInFlight)
	var all sync.WaitGroup
	body := newLoop()
	for i := range parts {
		buf := make([]byte, part)
		_, err := io.ReadFull(body, buf)
		b.must(err)
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			p, err := b.writer.Part(ctx, key, id, i+1, buf)
			if err != nil {
				b.t.Error(err)
			}
			parts[i] = p
		})
	}
	all.Wait()
	_, err = b.writer.Complete(ctx, key, id, parts)
	b.must(err)
	b.must(b.writer.Delete(ctx, key))
}

// loop is a stream without end that costs next to nothing to make.
type loop struct {
	block []byte
	at    int
}

func newLoop() *loop { return &loop{block: noiseBytes(1, 1<<20+7)} }

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.block[l.at:])
	l.at = (l.at + n) % len(l.block)
	return n, nil
}
