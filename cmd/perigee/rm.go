package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"perigee/client"
	"perigee/object"
)

type rmCmd struct {
	remote
	Targets   []string `arg:"" name:"target" help:"Files, as SITE:/path, or with -r directories."`
	Recursive bool     `short:"r" help:"Delete everything below the paths."`
	Yes       bool     `short:"y" help:"Do not ask."`
	Jobs      int      `short:"j" default:"16" help:"Files at a time."`
}

// doomed is a file to be deleted.
type doomed struct {
	site object.Site
	path object.Path
}

// rmResult is what became of one file.
type rmResult struct {
	doomed
	err error
}

// Run deletes. A path's URL ends; its versions stay.
func (c *rmCmd) Run(a *app) error {
	if c.Jobs < 1 || c.Jobs > 256 {
		return errors.New("--jobs is 1 to 256")
	}
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	files, err := c.find(a, cl)
	if err != nil {
		return err
	}
	if c.Recursive && len(files) == 0 {
		fmt.Fprintln(a.stderr, "there is nothing below "+strings.Join(c.Targets, ", "))
		return nil
	}
	if c.Recursive && !c.Yes {
		if err := confirm(a, fmt.Sprintf("delete %s below %s?", plural(len(files), "file"), strings.Join(c.Targets, ", "))); err != nil {
			return err
		}
	}
	return c.deleteAll(a, cl, files)
}

// find returns the files that are named, or lie below what is named.
func (c *rmCmd) find(a *app, cl *client.Client) ([]doomed, error) {
	var files []doomed
	for _, arg := range c.Targets {
		t, err := parseTarget(arg)
		if err != nil {
			return nil, err
		}
		if !c.Recursive {
			p, err := t.file()
			if err != nil {
				return nil, fmt.Errorf("%w (for a directory add -r)", err)
			}
			files = append(files, doomed{t.site, p})
			continue
		}
		dir, err := t.dir()
		if err != nil {
			return nil, err
		}
		for f, err := range cl.List(a.ctx, t.site, string(dir)) {
			if err != nil {
				return nil, err
			}
			files = append(files, doomed{t.site, f.Path})
		}
	}
	return files, nil
}

// confirm asks a person; without one, the answer is no.
func confirm(a *app, question string) error {
	if _, ok := terminal(a.stdin); !ok {
		return fmt.Errorf("%s Nobody is here to answer: add --yes", question)
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(a.stdin).ReadString('\n') // an end without an answer is a no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was deleted")
}

func (c *rmCmd) deleteAll(a *app, cl *client.Client, files []doomed) error {
	jobs, results := make(chan doomed), make(chan rmResult)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(jobs)
		for _, f := range files {
			select {
			case jobs <- f:
			case <-a.ctx.Done():
				return
			}
		}
	})
	for range min(c.Jobs, len(files)) {
		wg.Go(func() {
			for f := range jobs {
				results <- rmResult{f, c.delete(a.ctx, cl, f)}
			}
		})
	}
	go func() {
		wg.Wait()
		close(results)
	}()
	deleted, bad := 0, 0
	for r := range results {
		name := string(r.site) + ":" + string(r.path)
		if r.err != nil {
			bad++
			fmt.Fprintf(a.stderr, "not deleted %q: %v\n", name, r.err)
			continue
		}
		deleted++
		if !a.JSON {
			fmt.Fprintf(a.stdout, "deleted %s\n", name)
		}
	}
	if a.JSON {
		if err := a.printJSON(map[string]int{"deleted": deleted, "failed": bad}); err != nil {
			return err
		}
	}
	switch {
	case a.ctx.Err() != nil:
		return a.ctx.Err()
	case bad > 0:
		return failed(1)
	}
	return nil
}

// delete deletes one file. Below a directory, one that somebody else deleted meanwhile is what was asked for.
func (c *rmCmd) delete(ctx context.Context, cl *client.Client, f doomed) error {
	_, err := cl.Delete(ctx, f.site, f.path, "")
	if c.Recursive && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
