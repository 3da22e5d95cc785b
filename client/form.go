package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"perigee/object"
)

// FormOptions holds for all files of a form.
type FormOptions struct {
	Directory    string // where the files go
	CacheControl string
	Tags         []object.Tag
}

// FormFile is a file of a form.
type FormFile struct {
	Name string // below FormOptions.Directory
	Body io.Reader
}

// FormResult is what became of a file of a form: a File, or a Problem.
type FormResult struct {
	Path    string   `json:"path"`
	File    *File    `json:"result,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// PutForm publishes many small files in one request, as an HTML form does. Each is published by itself: the results, in the order of files, say of
// each what became of it. An error says that none was. If all bodies are io.Seekers the form is sent again, as Retry says, when the server or the way to it
// fails.
func (c *Client) PutForm(ctx context.Context, site object.Site, o FormOptions, files []FormFile) ([]FormResult, error) {
	rewind, err := rewinding(files)
	if err != nil {
		return nil, fmt.Errorf("put a form into %s: %w", site, err)
	}
	boundary := rand.Text() // one for all tries: only the same form is the same change
	var answer struct {
		Files []FormResult `json:"files"`
	}
	once := func(key string) error {
		if rewind != nil {
			if err := rewind(); err != nil {
				return err
			}
		}
		return c.sendForm(ctx, site, key, boundary, &answer, func(form *multipart.Writer) error { return writeForm(form, o, files) })
	}
	if rewind != nil {
		err = c.change(ctx, once)
	} else {
		err = once(newIdempotencyKey())
	}
	if err != nil {
		return nil, fmt.Errorf("put a form into %s: %w", site, err)
	}
	return answer.Files, nil
}

// rewinding returns what sets all files back to where they stand now; nil if one of them cannot be.
func rewinding(files []FormFile) (func() error, error) {
	var from []int64
	for _, f := range files {
		at, s, err := startOf(f.Body)
		if s == nil || err != nil {
			return nil, err
		}
		from = append(from, at)
	}
	return func() error {
		for i, f := range files {
			if _, err := f.Body.(io.Seeker).Seek(from[i], io.SeekStart); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// sendForm sends what write writes, as it writes it.
func (c *Client) sendForm(ctx context.Context, site object.Site, key, boundary string, answer any, write func(*multipart.Writer) error) error {
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	if err := form.SetBoundary(boundary); err != nil {
		return err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(write(form))
	}()
	defer func() {
		r.Close() // ends the writer, if the server answered early
		<-written
	}()
	req, err := c.request(ctx, http.MethodPost, "/sites/"+string(site)+"/files", nil, r)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set(idempotencyKey, key)
	_, err = c.call(req, answer)
	return err
}

func writeForm(form *multipart.Writer, o FormOptions, files []FormFile) error {
	tags := make([]string, len(o.Tags))
	for i, t := range o.Tags {
		tags[i] = string(t)
	}
	for _, f := range [][2]string{{"directory", o.Directory}, {"cache_control", o.CacheControl}, {"tags", strings.Join(tags, ",")}} {
		if f[1] == "" {
			continue
		}
		if err := form.WriteField(f[0], f[1]); err != nil {
			return err
		}
	}
	for _, f := range files {
		part, err := form.CreateFormFile("file", f.Name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(part, f.Body); err != nil {
			return fmt.Errorf("read %s: %w", f.Name, err)
		}
	}
	return form.Close()
}
