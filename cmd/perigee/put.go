package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
	Direct       bool          `help:"Send the bytes straight to the storage, and not through the API. The server needs storage.public_endpoint."`
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
	if p.client, err = c.connectWith(a, client.Retry{Tries: c.Tries, Pause: c.Pause}); err != nil {
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
