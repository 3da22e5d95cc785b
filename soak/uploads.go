package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"perigee/object"
)

// sent is a file that a client uploads.
type sent struct {
	Path     string `json:"path"`
	Size     int    `json:"size"`
	Seed     int    `json:"seed"`
	Chunk    int    `json:"chunk,omitempty"`
	Parallel int    `json:"parallel,omitempty"`
	Stream   bool   `json:"stream,omitempty"`

	made  string // the upload's URL path, once the client has it
	acked bool
}

// content is the file's bytes; tusclient.cjs makes the same.
func (f *sent) content() []byte {
	b := make([]byte, f.Size)
	x := uint32(f.Seed)*2654435761 + 12345
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// faults are what a cycle does to the system while clients upload.
var faults = []string{"kill the API", "kill the storage", "cut the connections", "fill the disk", "kill the client", "kill the API and the storage"}

// uploads breaks everything that takes part in uploads, one thing a cycle, while real tus clients upload. Every file that was acknowledged
// must be there with its bytes; every upload that was not must be resumable or gone; and at the end nothing may be left that no
// version refers to.
func uploads(o options) (string, error) {
	library, err := tusLibrary()
	if err != nil {
		return "", err
	}
	r, err := newUploadRig(o.perigee)
	if err != nil {
		return "", err
	}
	defer r.close()
	rng := o.random()
	u := &uploading{rig: r, library: library, rng: rng, seen: map[string]int{}}
	for cycle := range o.cycles {
		if err := u.cycle(cycle); err != nil {
			return "", fmt.Errorf("cycle %d: %w", cycle, err)
		}
	}
	left, err := u.audit()
	if err != nil {
		return "", fmt.Errorf("audit: %w", err)
	}
	full := ""
	if r.full == "" {
		full = " (the disk was never full: a file system of its own could not be mounted)"
	}
	return fmt.Sprintf("%d cycles (%s)%s: %d uploads acknowledged and all there with their bytes, %d not: %d were resumed to their end, %d were gone; the clients retried; %s",
		o.cycles, u.faultsSeen(), full, u.acked, u.open, u.resumed, u.gone, left), nil
}

// uploading is one run of the proof.
type uploading struct {
	rig     *uploadRig
	library string
	rng     *rand.Rand
	files   []*sent // acknowledged

	seen                       map[string]int
	acked, open, resumed, gone int
}

func (u *uploading) faultsSeen() string {
	var all []string
	for _, f := range faults {
		if n := u.seen[f]; n > 0 {
			all = append(all, fmt.Sprintf("%d× %s", n, f))
		}
	}
	return strings.Join(all, ", ")
}

// cycle lets clients upload, does one thing to the system, waits for the clients and looks at what became of the files.
func (u *uploading) cycle(n int) error {
	files := u.make(n)
	c, err := startClient(u.library, u.rig.line.addr(), files)
	if err != nil {
		return err
	}
	defer c.kill()
	time.Sleep(time.Duration(u.rng.IntN(900)) * time.Millisecond)
	fault := faults[u.rng.IntN(len(faults))]
	if fault == "fill the disk" && u.rig.full == "" {
		fault = "cut the connections"
	}
	u.seen[fault]++
	if err := u.strike(fault, c); err != nil {
		return fmt.Errorf("%s: %w", fault, err)
	}
	if err := c.wait(); err != nil && fault != "kill the client" {
		return fmt.Errorf("%s: %w", fault, err)
	}
	for _, f := range files {
		if err := u.judge(f, fault == "kill the client"); err != nil {
			return fmt.Errorf("%s: %s of %d bytes: %w", fault, f.Path, f.Size, err)
		}
	}
	return nil
}

// make makes up the files of a cycle: small, large, in chunks, in parallel, of a length told at the end; some replace others.
func (u *uploading) make(cycle int) []*sent {
	kinds := []sent{
		{Size: 1 + u.rng.IntN(100_000)}, {Size: 1<<20 + u.rng.IntN(6<<20)}, {Size: 9<<20 + u.rng.IntN(8<<20)},
		{Size: 10<<20 + u.rng.IntN(4<<20), Chunk: 3 << 20}, {Size: 2<<20 + u.rng.IntN(12<<20), Parallel: 3},
	}
	files := make([]*sent, 0, len(kinds))
	for i, k := range kinds {
		k.Path = fmt.Sprintf("/c%d/%d", cycle, i)
		if u.rng.IntN(3) == 0 {
			k.Path = fmt.Sprintf("/again/%d", i)
		}
		k.Seed = u.rng.IntN(1 << 30)
		files = append(files, &k)
	}
	return files
}

// strike does one thing to the system, and mends it.
func (u *uploading) strike(fault string, c *tusClient) error {
	r, rest := u.rig, func() { time.Sleep(time.Duration(u.rng.IntN(400)) * time.Millisecond) }
	switch fault {
	case "kill the API":
		r.killRole("upload")
		rest()
		return r.startRole("upload")
	case "kill the storage":
		r.killRole("storage")
		rest()
		return r.startRole("storage")
	case "kill the API and the storage":
		r.killRole("upload")
		r.killRole("storage")
		rest()
		return errors.Join(r.startRole("storage"), r.startRole("upload"))
	case "cut the connections":
		for range 1 + u.rng.IntN(4) {
			r.line.cut()
			rest()
		}
	case "fill the disk":
		err := r.fill()
		rest()
		rest()
		return errors.Join(err, r.empty())
	case "kill the client":
		c.kill()
	}
	return nil
}

// judge looks at what became of a file whose client has ended.
func (u *uploading) judge(f *sent, clientDied bool) error {
	if !f.acked {
		if !clientDied {
			return errors.New("its client has ended and it was not acknowledged")
		}
		u.open++
		return u.goOn(f)
	}
	u.acked++
	u.files = append(u.files, f)
	return u.rig.check(f)
}

// goOn resumes an upload whose client has died, if the client had come to know of it: it must be resumable, or gone.
func (u *uploading) goOn(f *sent) error {
	if f.made == "" || f.Parallel > 0 {
		u.gone++
		return nil // nobody knows of it, or only of parts; the sweeper removes it
	}
	offset, status, err := u.rig.offset(f.made)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound || status == http.StatusGone:
		u.gone++
		return nil
	case status != http.StatusOK || offset > f.Size:
		return fmt.Errorf("status %d, offset %d", status, offset)
	case u.rng.IntN(2) == 0:
		u.gone++ // left alone: the sweeper removes it
		return nil
	}
	if err := u.rig.patch(f.made, offset, f.content()[offset:]); err != nil {
		return err
	}
	u.resumed++
	u.files = append(u.files, f)
	return u.rig.check(f)
}

// tusClient is a process with tus-js-client that uploads files.
type tusClient struct {
	cmd   *exec.Cmd
	files map[string]*sent
	out   sync.WaitGroup
	err   strings.Builder
	once  sync.Once
	ended error
}

func startClient(library, addr string, files []*sent) (*tusClient, error) {
	text, err := json.Marshal(files)
	if err != nil {
		return nil, err
	}
	dir := "soak"
	if _, err := os.Stat(dir); err != nil {
		dir = "."
	}
	c := &tusClient{files: map[string]*sent{}}
	for _, f := range files {
		c.files[f.Path] = f
	}
	c.cmd = exec.Command("node", filepath.Join(dir, "tusclient.cjs"), library, "http://"+addr+"/api/v1/uploads/", rigKey, string(text))
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
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil || c.files[said.Path] == nil {
			continue
		}
		if f := c.files[said.Path]; said.Done {
			f.acked = true
		} else if _, path, ok := strings.Cut(said.Made, "/api/"); ok {
			f.made = "/api/" + path
		}
	}
}

// wait waits until the client has ended.
func (c *tusClient) wait() error {
	c.once.Do(func() {
		late := time.AfterFunc(3*time.Minute, func() { c.cmd.Process.Kill() })
		defer late.Stop()
		c.out.Wait()
		if err := c.cmd.Wait(); err != nil {
			c.ended = fmt.Errorf("the client: %w: %s", err, c.err.String())
		}
	})
	return c.ended
}

func (c *tusClient) kill() {
	c.cmd.Process.Kill()
	_ = c.wait() // that it was killed is known
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

// offset asks how far an upload is.
func (r *uploadRig) offset(upload string) (offset, status int, err error) {
	res, err := r.ask("HEAD", upload, nil)
	if err != nil {
		return 0, 0, err
	}
	res.Body.Close()
	offset, _ = strconv.Atoi(res.Header.Get("Upload-Offset"))
	return offset, res.StatusCode, nil
}

// patch sends the rest of an upload.
func (r *uploadRig) patch(upload string, offset int, body []byte) error {
	res, err := r.ask("PATCH", upload, body, "Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(offset))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("PATCH at %d: %s %s", offset, res.Status, text)
	}
	return nil
}

// check makes sure that the bucket's pointer of a file leads to its bytes, and that the catalogue says the same.
func (r *uploadRig) check(f *sent) error {
	want := object.HashOf(f.content())
	res, err := r.ask("GET", "/api/v1/sites/www/files"+f.Path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var rec struct {
		SHA256 object.Hash `json:"sha256"`
		Size   int64       `json:"size"`
	}
	if err := json.NewDecoder(res.Body).Decode(&rec); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("the catalogue: %s, %v", res.Status, err)
	}
	if rec.SHA256 != want || rec.Size != int64(f.Size) {
		return fmt.Errorf("the catalogue has %d bytes with SHA-256 %s, sent were %s", rec.Size, rec.SHA256, want)
	}
	return r.stored(context.Background(), object.Path(f.Path), want)
}
