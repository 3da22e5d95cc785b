package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// session is a client, or those that follow it when it is killed, with some files.
type session struct {
	u      *uploading
	files  []*sent
	places []*place
	// What it does is decided before it begins, so that the seed decides it.
	resume bool   // whether a client that was killed is followed by another, which goes on with what it had stored
	remove uint32 // which file is removed afterwards; one of four removes one
	erase  bool   // and whether with all its versions

	mu     sync.Mutex
	client *tusClient
}

// run uploads the files and looks at what became of them.
func (s *session) run() error {
	if err := s.upload(); err != nil {
		return err
	}
	for i, f := range s.files {
		if err := s.judge(f, s.places[i]); err != nil {
			return fmt.Errorf("%s of %d bytes, uploads %v: %w", f.Path, f.Size, f.made, err)
		}
		s.u.book.free(s.places[i])
	}
	for _, p := range s.superfluous() {
		if err := s.u.removeFile(p, s.erase); err != nil {
			return fmt.Errorf("remove %s: %w", p.path, err)
		}
		s.u.book.free(p)
	}
	return nil
}

// upload runs clients until all files are acknowledged, or one was killed that nobody follows.
func (s *session) upload() error {
	for {
		c, err := startClient(s.u.library, s.u.rig.clients.addr(), s.files)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.client = c
		s.mu.Unlock()
		err = c.wait()
		left := 0
		for _, f := range s.files {
			if !f.acked {
				left++
			}
		}
		switch {
		case !c.killed.Load() && err != nil:
			return err
		case left == 0:
			return nil
		case !c.killed.Load():
			return errors.New("its client has ended and not all files were acknowledged")
		case !s.resume:
			return nil
		}
		s.u.count(func(n *sums) { n.resumed += left })
	}
}

// kill kills the client; false if there is none that has something to do.
func (s *session) kill() bool {
	c := s.now()
	if c == nil || !c.underWay() || c.killed.Load() {
		return false
	}
	c.kill()
	return true
}

func (s *session) now() *tusClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// underWay reports whether an upload has begun and has not been acknowledged.
func (s *session) underWay() bool {
	c := s.now()
	return c != nil && c.underWay()
}

// judge looks at what became of a file whose client has ended.
func (s *session) judge(f *sent, p *place) error {
	if !f.acked {
		if err := s.look(f); err != nil {
			return err
		}
	}
	if !f.acked {
		s.u.book.perhaps(p, f)
		s.u.count(func(n *sums) { n.open++ })
		return nil
	}
	if f.told != "" && f.told != f.hash.String() {
		return fmt.Errorf("it was acknowledged with SHA-256 %s, it has %s", f.told, f.hash)
	}
	s.u.book.acked(p, f)
	s.u.count(func(n *sums) { n.acked++ })
	return s.u.check(p)
}

// look asks for the uploads of a file whose client has died: each must be resumable, or gone. If the answer says that it was published
// it is acknowledged with that.
func (s *session) look(f *sent) error {
	for _, upload := range f.made {
		res, err := s.u.rig.ask("HEAD", upload, nil)
		if err != nil {
			return err
		}
		res.Body.Close()
		offset, _ := strconv.Atoi(res.Header.Get("Upload-Offset"))
		sum := res.Header.Get("Perigee-SHA256")
		switch {
		case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		case res.StatusCode != http.StatusOK || offset > f.Size:
			return fmt.Errorf("its client has died, and %s answers %s, offset %d", upload, res.Status, offset)
		case sum != "":
			f.acked, f.told = true, sum
		}
	}
	return nil
}

// superfluous returns files that have to go, having taken their paths.
func (s *session) superfluous() (ps []*place) {
	if s.remove%4 == 0 {
		if p := s.u.book.any(s.remove / 4); p != nil {
			ps = append(ps, p)
		}
	}
	for {
		p := s.u.book.surplus()
		if p == nil {
			return ps
		}
		ps = append(ps, p)
	}
}
