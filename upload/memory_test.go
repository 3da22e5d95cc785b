//go:build !race

package upload

import (
	"bytes"
	"io"
	"mime/multipart"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMemoryIsFlat: however large a file is, publishing it takes a few parts of memory, and one after the other takes no more than the first. The S3 server is another
// process; the client is in this one. Garbage is collected as the program has it. The race detector's own memory would be measured too, so this is not run under it.
func TestMemoryIsFlat(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	b := newBench(t, Config{})
	debug.FreeOSMemory()
	before := anonymous()
	if before == 0 {
		t.Skip("this system does not tell how much memory a process holds")
	}
	for _, c := range []struct {
		name  string
		size  int64
		limit uint64
		send  func(size int64) answer
	}{
		{"PUT", 512 << 20, flat, func(size int64) answer {
			return b.call("PUT", "/api/v1/sites/www/files/put", sized{io.LimitReader(newLoop(), size), size})
		}},
		{"tus", 256 << 20, flat, func(size int64) answer {
			url := b.create("/tus", int(size))
			return b.call("PATCH", url, sized{io.LimitReader(newLoop(), size), size}, "Tus-Resumable", "1.0.0", "Content-Type", chunkType, "Upload-Offset", "0")
		}},
		{"form", 256 << 20, flat, func(size int64) answer { return b.largeForm("form", size) }},
		{"PUT again", 256 << 20, flat, func(size int64) answer {
			return b.call("PUT", "/api/v1/sites/www/files/again", sized{io.LimitReader(newLoop(), size), size})
		}},
		{"PUT of unknown length", 256 << 20, flatUnknown, func(size int64) answer {
			return b.call("PUT", "/api/v1/sites/www/files/chunked", io.LimitReader(newLoop(), size))
		}},
	} {
		stop, peak := make(chan struct{}), make(chan uint64)
		go func() { peak <- peakMemory(stop) }()
		started := time.Now()
		a := c.send(c.size)
		took := time.Since(started)
		close(stop)
		most := max(<-peak, before) - before
		if a.status < 200 || a.status > 299 {
			t.Fatalf("%s: %d %s", c.name, a.status, a.body)
		}
		t.Logf("%s: %d MiB in %v, %d MiB/s, at most %d MiB more than before the first", c.name, c.size>>20, took.Round(time.Millisecond),
			int64(float64(c.size>>20)/took.Seconds()), most>>20)
		if most > c.limit {
			t.Errorf("%s: %d MiB more memory than before the first, the limit is %d", c.name, most>>20, c.limit>>20)
		}
	}
	b.consistent()
}

// How much memory may be added: one part that fills and those in flight, and half as much again for all else. Parts of unknown length are twice as large.
const (
	flat        = (partsInFlight + 1) * pooledPart * 3 / 2
	flatUnknown = (partsInFlight + 1) * unknownPart * 3 / 2
)

// largeForm posts one file of a form.
func (b *bench) largeForm(name string, size int64) answer {
	b.t.Helper()
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	_, err := form.CreateFormFile("file", name)
	b.must(err)
	end := "\r\n--" + form.Boundary() + "--\r\n"
	all := int64(head.Len()+len(end)) + size
	body := io.MultiReader(&head, io.LimitReader(newLoop(), size), strings.NewReader(end))
	return b.call("POST", "/api/v1/sites/www/files", sized{body, all}, "Content-Type", form.FormDataContentType(), "Accept", "application/json")
}

// peakMemory returns the most anonymous memory that the process held until stop is closed, in bytes.
func peakMemory(stop <-chan struct{}) (most uint64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		most = max(most, anonymous())
		select {
		case <-stop:
			return most
		case <-tick.C:
		}
	}
}

// anonymous is how much memory the process holds that is no file's, on the heap and beside it; 0 where the system does not tell.
func anonymous() uint64 {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSuffix(bytes.TrimSpace(v), []byte(" kB"))), 10, 64)
			return n << 10
		}
	}
	return 0
}
