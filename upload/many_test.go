package upload

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/object"
)

// TestManySmallUploads: two thousand clients at once, each with a small file, by PUT and by tus. All are served; the connections to the
// bucket stay few, and with them the file descriptors.
func TestManySmallUploads(t *testing.T) {
	const clients = 2000
	b := newBenchIn(t, memoryDir(t), Config{Requests: 64})
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 3 * time.Minute}
	idle := descriptors(t)
	var most atomic.Int64
	stop, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			most.Store(max(most.Load(), int64(descriptors(t))))
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	start := make(chan struct{})
	var all sync.WaitGroup
	var failed atomic.Int64
	for i := range clients {
		all.Go(func() {
			<-start
			if err := b.small(c, i); err != nil && failed.Add(1) < 5 {
				t.Error(err)
			}
		})
	}
	began := time.Now()
	close(start)
	all.Wait()
	took := time.Since(began)
	close(stop)
	<-watched
	// Each client's connection has two ends here.
	extra := most.Load() - int64(idle) - 2*clients
	t.Logf("%d uploads in %v; %d descriptors at most beyond the clients' connections", clients, took.Round(time.Millisecond), extra)
	if extra > 500 {
		t.Errorf("%d descriptors beyond the clients' own", extra)
	}
	if failed.Load() > 0 {
		t.Fatalf("%d uploads failed", failed.Load())
	}
	for i := 0; i < clients; i += 97 {
		b.published(object.Path(fmt.Sprintf("/many/%d", i)), []byte(smallFile(i)))
	}
}

func smallFile(i int) string { return strings.Repeat(fmt.Sprintf("file %d ", i), 1+i%500) }

// small uploads one small file.
func (b *bench) small(c *http.Client, i int) error {
	body, path := smallFile(i), fmt.Sprintf("/many/%d", i)
	req, err := http.NewRequest("PUT", b.server.URL+"/api/v1/sites/www/files"+path, strings.NewReader(body))
	if i%2 == 1 {
		req, err = http.NewRequest("POST", b.server.URL+"/api/v1/uploads/", strings.NewReader(body))
	}
	if err != nil {
		return err
	}
	if i%2 == 1 {
		for k, v := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Length": fmt.Sprint(len(body)), "Content-Type": chunkType, "Upload-Metadata": metadata("site", "www", "path", path)} {
			req.Header.Set(k, v)
		}
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != 201 {
		err = fmt.Errorf("%s: %s %s", path, res.Status, text)
	}
	return err
}

// memoryDir is a directory that syncs for nothing, where there is one: how long a disk takes is not what is looked at here.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "upload-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func descriptors(t *testing.T) int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("the number of file descriptors is not known on this system")
	}
	return len(fds)
}
