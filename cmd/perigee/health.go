package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthCmd is the health check of a container that has no other program.
type healthCmd struct {
	URL     string        `arg:"" name:"url" help:"Such as http://127.0.0.1:8081/readyz."`
	Timeout time.Duration `default:"2s" help:"How long to wait for the answer."`
}

// Run asks once.
func (c *healthCmd) Run(a *app) error {
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	status, text, err := ask(ctx, c.URL, a.lookup("PERIGEE_ADMIN_TOKEN"))
	if err != nil {
		return err
	}
	if a.JSON {
		if err := a.printJSON(map[string]any{"status": status, "answer": text}); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.stdout, text)
	}
	if status != http.StatusOK {
		return failed(1)
	}
	return nil
}

// ask returns the status of a GET and the first line of its answer.
func ask(ctx context.Context, url, token string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	t := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return 0, "", fmt.Errorf("read answer of %s: %w", url, err)
	}
	text, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	return res.StatusCode, text, nil
}
