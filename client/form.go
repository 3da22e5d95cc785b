package client

import (
	"context"
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
// each what became of it. An error says that none was.
func (c *Client) PutForm(ctx context.Context, site object.Site, o FormOptions, files []FormFile) ([]FormResult, error) {
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(writeForm(form, o, files))
	}()
	defer func() {
		r.Close() // ends the writer, if the server answered early
		<-written
	}()
	req, err := c.request(ctx, http.MethodPost, "/sites/"+string(site)+"/files", nil, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	var answer struct {
		Files []FormResult `json:"files"`
	}
	if _, err := c.call(req, &answer); err != nil {
		return nil, fmt.Errorf("put a form into %s: %w", site, err)
	}
	return answer.Files, nil
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
