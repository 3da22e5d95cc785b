package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"perigee/client"
	"perigee/object"
)

type putCmd struct {
	remote
	Source       string        `arg:"" help:"File or directory."`
	Target       string        `arg:"" optional:"" help:"Where to, as SITE:/path; www:/ if it is not given. A file goes to that path, or below it if it ends in '/'. Of a directory, the content goes below it."`
	Jobs         int           `short:"j" default:"16" help:"Files at a time."`
	Tags         string        `placeholder:"A,B" help:"Tags, for purging."`
	CacheControl string        `placeholder:"VALUE" help:"Cache-Control that readers get on the path's URL."`
	Force        bool          `help:"Publish files again that are unchanged."`
	DryRun       bool          `short:"n" help:"Say what would be published, and do nothing."`
	Quiet        bool          `short:"q" help:"Do not print the URLs."`
	Tries        int           `default:"6" help:"How often a file is tried while the server or the way to it fails."`
	Pause        time.Duration `default:"500ms" help:"Pause after the first failure; it doubles with each more, up to 10s."`
}

// outcome is what became of one file.
type outcome string

const (
	uploaded  outcome = "uploaded"
	unchanged outcome = "unchanged"
	skipped   outcome = "skipped" // it is no file
	notDone   outcome = "failed"
	wouldPut  outcome = "would-upload"
)

// putResult is one line of put --json.
type putResult struct {
	Source string       `json:"source"`
	Status outcome      `json:"status"`
	Error  string       `json:"error,omitempty"`
	File   *client.File `json:"file,omitempty"`
}

// putSummary is the last line of put --json.
type putSummary struct {
	Files     int     `json:"files"`
	Uploaded  int     `json:"uploaded"`
	Bytes     int64   `json:"bytes"` // of uploaded files
	Unchanged int     `json:"unchanged"`
	Skipped   int     `json:"skipped"`
	Failed    int     `json:"failed"`
	Seconds   float64 `json:"seconds"`
	DryRun    bool    `json:"dry_run,omitempty"`
}

// putter is one run of put.
type putter struct {
	*putCmd
	a       *app
	client  *client.Client
	to      target
	tags    []object.Tag
	known   map[object.Path]client.File // what is published below the target
	bar     *progress
	single  bool
	stop    context.CancelCauseFunc
	trouble atomic.Int32 // files in a row that the server failed

	sum putSummary // used by the printer alone
}

// errNoServer ends a run in which the server fails file after file.
var errNoServer = errors.New("the server keeps failing; run the same command again later, it goes on where it ended")

// Run publishes.
func (c *putCmd) Run(a *app) error {
	if c.Jobs < 1 || c.Jobs > 256 || c.Tries < 1 || c.Pause < 0 {
		return errors.New("--jobs is 1 to 256, --tries at least 1, --pause not negative")
	}
	if c.Target == "" {
		c.Target = defaultSite + ":/"
	}
	p := &putter{putCmd: c, a: a}
	var err error
	if p.to, err = parseTarget(c.Target); err != nil {
		return err
	}
	if p.tags, err = object.ParseTags(c.Tags); err != nil {
		return err
	}
	if p.client, err = c.connect(a); err != nil {
		return err
	}
	defer p.client.Close()
	t, err := findFiles(c.Source, p.to)
	if err != nil {
		return err
	}
	return p.publish(t)
}

func (p *putter) publish(t *tree) error {
	begun := p.a.clock.Now()
	p.single = len(t.files) == 1 && len(t.problems) == 0
	ctx, stop := context.WithCancelCause(p.a.ctx)
	defer stop(nil)
	p.stop = stop
	if err := p.learn(ctx, t); err != nil {
		return err
	}
	p.bar = startProgress(p.a, len(t.files), t.bytes)
	for _, pr := range t.problems {
		r := putResult{Source: pr.name, Status: notDone, Error: pr.why.Error()}
		if pr.skipped {
			r.Status = skipped
		}
		p.print(r)
	}
	results := p.work(ctx, t.files)
	for r := range results {
		p.print(r)
	}
	p.bar.stop()
	p.sum.Files = len(t.files) + len(t.problems)
	p.sum.Seconds, p.sum.DryRun = p.a.clock.Now().Sub(begun).Seconds(), p.DryRun
	p.summarise()
	switch {
	case p.a.ctx.Err() != nil:
		return p.a.ctx.Err()
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.sum.Failed > 0:
		return failed(1)
	}
	return nil
}

// learn lists what is published already, which also finds out whether the server, the key and the site are right
// before the first byte is sent.
func (p *putter) learn(ctx context.Context, t *tree) error {
	p.known = map[object.Path]client.File{}
	if len(t.files) == 1 {
		path := t.files[0].path
		f, err := p.client.Get(ctx, p.to.site, path)
		if err == nil {
			p.known[path] = f
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	prefix := ""
	if d, err := p.to.dir(); err == nil {
		prefix = string(d)
	}
	wanted := make(map[object.Path]bool, len(t.files))
	for _, f := range t.files {
		wanted[f.path] = true
	}
	for f, err := range p.client.List(ctx, p.to.site, prefix) {
		if err != nil {
			return err
		}
		if wanted[f.Path] {
			p.known[f.Path] = f
		}
	}
	return nil
}

// work publishes files by p.Jobs workers. The channel of results is closed when all have ended.
func (p *putter) work(ctx context.Context, files []localFile) <-chan putResult {
	jobs, results := make(chan localFile), make(chan putResult)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(jobs)
		for _, f := range files {
			select {
			case jobs <- f:
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(p.Jobs, len(files)) {
		wg.Go(func() {
			for f := range jobs {
				results <- p.one(ctx, f)
			}
		})
	}
	go func() {
		wg.Wait()
		close(results)
	}()
	return results
}

// one publishes one file, trying again while that may help.
func (p *putter) one(ctx context.Context, f localFile) putResult {
	r := putResult{Source: f.name}
	resume := "" // the address of an upload that was begun
	for try := 1; ; try++ {
		file, status, err := p.attempt(ctx, f, &resume)
		if err == nil {
			p.trouble.Store(0)
			r.Status, r.File = status, &file
			return r
		}
		if try == p.Tries || ctx.Err() != nil || !retryable(err) {
			if client.Temporary(err) && int(p.trouble.Add(1)) >= 2*p.Jobs {
				p.stop(errNoServer)
			}
			r.Status, r.Error = notDone, err.Error()
			return r
		}
		if err := p.a.sleep(ctx, p.pause(try, err)); err != nil {
			r.Status, r.Error = notDone, err.Error()
			return r
		}
	}
}

// retryable reports whether another try may help: the server failed, or the file changed under our hands.
func retryable(err error) bool {
	var p *client.Problem
	return client.Temporary(err) || errors.As(err, &p) && (p.Type == "/problems/digest-mismatch" || p.Type == "/problems/incomplete")
}

// pause returns how long to wait after the try-th failure. The jitter keeps the workers from coming back as one.
func (p *putter) pause(try int, err error) time.Duration {
	d := min(p.Pause<<min(try-1, 10), 10*time.Second)
	d = d/2 + rand.N(d/2+1)
	var prob *client.Problem
	if errors.As(err, &prob) {
		d = max(d, min(prob.RetryAfter, 30*time.Second))
	}
	return d
}

// resumableAbove is the size in bytes from which on a file goes by resumable upload: what has arrived need not be sent again.
const resumableAbove = 64 << 20

// attempt publishes a file once, unless the catalogue has the same bytes at its path. A large file goes on at *resume.
func (p *putter) attempt(ctx context.Context, f localFile, resume *string) (client.File, outcome, error) {
	c, err := readContent(f.name)
	if err != nil {
		p.bar.fail(f.size)
		return client.File{}, "", err
	}
	defer c.close()
	if old, ok := p.known[f.path]; ok && old.SHA256 == c.hash && !p.Force {
		p.bar.done(f.size)
		return old, unchanged, nil
	}
	if p.DryRun {
		p.bar.done(f.size)
		return client.File{Site: p.to.site, Path: f.path, SHA256: c.hash, Size: c.size}, wouldPut, nil
	}
	body := &counted{r: c.open(), bar: p.bar}
	file, err := p.send(ctx, f, c, body, resume)
	if err != nil {
		p.bar.sent(-body.n) // it will be sent again, or not at all
		return client.File{}, "", err
	}
	if file.SHA256 != c.hash || file.Size != c.size {
		return client.File{}, "", fmt.Errorf("put %s: the server says it stored %d bytes with SHA-256 %s, which is not what was sent", f.path, file.Size, file.SHA256)
	}
	p.bar.sent(f.size - body.n)
	p.bar.file()
	return file, uploaded, nil
}

// send sends the content of a file.
func (p *putter) send(ctx context.Context, f localFile, c *content, body *counted, resume *string) (client.File, error) {
	if c.size <= resumableAbove {
		file, _, err := p.client.Put(ctx, p.to.site, f.path, body, client.PutOptions{
			Size: c.size, SHA256: c.hash, Tags: p.tags, CacheControl: p.CacheControl,
		})
		return file, err
	}
	return p.client.Upload(ctx, p.to.site, f.path, body, c.size, client.UploadOptions{
		SHA256: c.hash, Tags: p.tags, CacheControl: p.CacheControl, Resume: *resume, Begun: func(address string) { *resume = address },
	})
}

// counted tells the bar how far it is read.
type counted struct {
	r   io.ReadSeeker
	bar *progress
	n   int64
}

// Seek tells the bar, too: what is read again was not sent.
func (c *counted) Seek(offset int64, whence int) (int64, error) {
	at, err := c.r.Seek(offset, whence)
	if err == nil {
		c.bar.sent(at - c.n)
		c.n = at
	}
	return at, err
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.bar.sent(int64(n))
	return n, err
}

// print tells one result: URLs to standard output, the rest to standard error.
func (p *putter) print(r putResult) {
	switch r.Status {
	case uploaded, wouldPut:
		p.sum.Uploaded++
		p.sum.Bytes += r.File.Size
	case unchanged:
		p.sum.Unchanged++
	case skipped:
		p.sum.Skipped++
	case notDone:
		p.sum.Failed++
	}
	p.bar.aside(func() {
		switch {
		case p.a.JSON:
			p.line(r)
		case r.Status == skipped || r.Status == notDone:
			fmt.Fprintf(p.a.stderr, "%s %q: %s\n", r.Status, r.Source, r.Error)
		case r.Status == wouldPut:
			fmt.Fprintf(p.a.stdout, "%s:%s\n", r.File.Site, r.File.Path)
		case !p.Quiet && (r.Status == uploaded || p.single):
			fmt.Fprintln(p.a.stdout, r.File.URL)
		}
	})
}

func (p *putter) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("perigee: a result always marshals: " + err.Error())
	}
	fmt.Fprintf(p.a.stdout, "%s\n", b)
}

func (p *putter) summarise() {
	s := p.sum
	if p.a.JSON {
		p.line(map[string]putSummary{"summary": s})
		return
	}
	if p.single && s.Failed == 0 && !p.DryRun {
		return // its URL has said it
	}
	verb := "uploaded"
	if p.DryRun {
		verb = "to upload"
	}
	fmt.Fprintf(p.a.stderr, "%s: %s %s (%s), %s unchanged, %s skipped, %s failed, in %.1f s\n", plural(s.Files, "file"),
		grouped(s.Uploaded), verb, humanBytes(s.Bytes), grouped(s.Unchanged), grouped(s.Skipped), grouped(s.Failed), s.Seconds)
}
