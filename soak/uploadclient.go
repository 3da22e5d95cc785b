package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// tusClient is a process with tus-js-client that uploads files.
type tusClient struct {
	cmd    *exec.Cmd
	files  map[string]*sent
	out    sync.WaitGroup
	err    strings.Builder
	once   sync.Once
	ended  error
	made   atomic.Int64 // uploads that it has told of
	done   atomic.Int64 // files that were acknowledged
	killed atomic.Bool
}

// startClient starts a client for those of the files that are not acknowledged. What it has to say stands in the files when wait returns.
func startClient(library, addr string, files []*sent) (*tusClient, error) {
	c := &tusClient{files: map[string]*sent{}}
	var left []*sent
	for _, f := range files {
		if !f.acked {
			c.files[f.Path] = f
			left = append(left, f)
		}
	}
	text, err := json.Marshal(left)
	if err != nil {
		return nil, err
	}
	dir := "soak"
	if _, err := os.Stat(dir); err != nil {
		dir = "."
	}
	c.cmd = exec.Command("node", filepath.Join(dir, "tusclient.cjs"), library, "http://"+addr+"/api/v1/uploads/", rigKey, fmt.Sprint(longPatience.Seconds()), string(text))
	c.cmd.Stderr = &c.err
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.out.Go(func() { c.listen(stdout) })
	return c, nil
}

// listen notes what the client says.
func (c *tusClient) listen(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var said struct {
			Path, Made, SHA256 string
			Done               bool
			Stored             json.RawMessage
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil || c.files[said.Path] == nil {
			continue
		}
		f := c.files[said.Path]
		_, path, ok := strings.Cut(said.Made, "/api/")
		switch {
		case said.Done:
			f.acked, f.told = true, said.SHA256
			c.done.Add(1)
		case ok:
			f.made = append(f.made, "/api/"+path)
			c.made.Add(1)
		case string(said.Stored) == "null":
			f.Previous = nil
		case said.Stored != nil:
			f.Previous = said.Stored
			f.made = append(f.made, storedURLs(said.Stored)...)
			c.made.Add(1)
		}
	}
}

// storedURLs are the URL paths of uploads in what the client has stored.
func storedURLs(stored json.RawMessage) (paths []string) {
	var s struct {
		UploadURL          string   `json:"uploadUrl"`
		ParallelUploadURLs []string `json:"parallelUploadUrls"`
	}
	if json.Unmarshal(stored, &s) != nil {
		return nil
	}
	for _, u := range append(s.ParallelUploadURLs, s.UploadURL) {
		if _, path, ok := strings.Cut(u, "/api/"); ok {
			paths = append(paths, "/api/"+path)
		}
	}
	return paths
}

// underWay reports whether the client has begun an upload and not all are acknowledged.
func (c *tusClient) underWay() bool {
	return c.made.Load() > 0 && int(c.done.Load()) < len(c.files)
}

// wait waits until the client has ended; it gives up by itself when it takes too long.
func (c *tusClient) wait() error {
	c.once.Do(func() {
		c.out.Wait()
		if err := c.cmd.Wait(); err != nil {
			c.ended = fmt.Errorf("the client: %w: %s", err, c.err.String())
		}
	})
	return c.ended
}

// kill is kill -9.
func (c *tusClient) kill() {
	c.killed.Store(true)
	c.cmd.Process.Kill()
}

// tusLibrary finds tus-js-client, which the console uses.
func tusLibrary() (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", fmt.Errorf("uploads needs node: %w", err)
	}
	for _, dir := range []string{"web/node_modules/tus-js-client", "../web/node_modules/tus-js-client"} {
		if _, err := os.Stat(dir); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", errors.New("uploads needs tus-js-client: run npm ci in web/")
}
