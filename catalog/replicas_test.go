package catalog_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"perigee/catalog"
	"perigee/catalog/catalogtest"
	"perigee/catalog/pgserver"
	"perigee/object"
)

// separated is a catalogue on a primary with two replicas.
type separated struct {
	node
	primary  *pgserver.Server
	replicas []*pgserver.Server
}

func newSeparated(t *testing.T, change func(*catalog.Config)) *separated {
	t.Helper()
	s := &separated{primary: catalogtest.StartPostgres(t, pgserver.Config{Durable: true})}
	cfg := postgresConfig(s.primary.DSN(pgserver.Database))
	for range 2 {
		r := catalogtest.StartReplica(t, s.primary)
		s.replicas = append(s.replicas, r)
		cfg.Postgres.Replicas = append(cfg.Postgres.Replicas, r.Dir())
	}
	cfg.Postgres.ConnectTimeout = time.Second
	if change != nil {
		change(&cfg)
	}
	s.node = nodes(t, cfg, 1)[0]
	return s
}

func newSession(t *testing.T, tokens ...string) *catalog.Session {
	t.Helper()
	s, err := catalog.NewSession(tokens...)
	must(t, err)
	return s
}

// write publishes in a session and returns its token.
func (s *separated) write(path, body string) (object.Version, string) {
	s.t.Helper()
	session := newSession(s.t)
	ctx := session.Deciding(s.t.Context())
	r, err := s.Reserve(ctx, catalog.Change{Pointer: pointer(path, body)})
	must(s.t, err)
	_, err = s.Commit(ctx, r, "e")
	must(s.t, err)
	return r.Pointer.Version, session.Token()
}

// read reads a file in the session of a token.
func (s *separated) read(path, token string) (object.Version, error) {
	f, err := s.File(newSession(s.t, token).In(s.t.Context()), "www", object.Path(path))
	return f.Pointer.Version, err
}

// fit waits until n replicas answer reads.
func (s *separated) awaitReplica() {
	s.t.Helper()
	s.write("/probe", "x")
	eventually(s.t, "a replica answers", func() bool {
		before := s.ReadCounts().Replica
		_, err := s.read("/probe", "")
		return err == nil && s.ReadCounts().Replica > before
	})
}

// TestWritersReadTheirWrites: whatever a replica does, who has written reads what was written.
func TestWritersReadTheirWrites(t *testing.T) {
	s := newSeparated(t, nil)
	s.awaitReplica()
	check := func(n int) {
		t.Helper()
		for i := range n {
			path := fmt.Sprintf("/%d", i%7)
			version, token := s.write(path, fmt.Sprint(i))
			if got, err := s.read(path, token); err != nil || got != version {
				t.Fatalf("wrote version %s, read %s, %v", version, got, err)
			}
			if vs, err := s.Versions(newSession(t, token).In(t.Context()), "www", object.Path(path), "", 1); err != nil || vs[0].Version != version {
				t.Fatalf("wrote version %s, the newest is %v, %v", version, vs, err)
			}
		}
	}
	check(40)
	if s.ReadCounts().Replica == 0 {
		t.Error("no replica has answered")
	}

	// Both stand still: what was seen of them before is true no more, and only the primary has the new.
	for _, r := range s.replicas {
		must(t, r.PauseReplay(t.Context()))
	}
	behind := s.ReadCounts().Behind
	check(20)
	if got := s.ReadCounts(); got.Behind == behind && got.Unfit == 0 {
		t.Errorf("nobody noticed that the replicas stand: %+v", got)
	}
	// What a replica does not have is asked from the primary, by whoever asks.
	version, token := s.write("/new", "x")
	if got, err := s.read("/new", ""); err != nil || got != version {
		t.Errorf("a file that the replicas lack: %s, %v", got, err)
	}
	for _, r := range s.replicas {
		must(t, r.ResumeReplay(t.Context()))
	}
	eventually(t, "the replicas answer writers again", func() bool {
		before := s.ReadCounts().Replica
		got, err := s.read("/new", token)
		return err == nil && got == version && s.ReadCounts().Replica > before
	})
	check(20)
}

// TestLaggingReplicaIsLeft: a replica that is too far behind answers nobody, and is taken back.
func TestLaggingReplicaIsLeft(t *testing.T) {
	s := newSeparated(t, func(c *catalog.Config) {
		c.Postgres.MaxLag = 300 * time.Millisecond
		c.Postgres.Replicas = c.Postgres.Replicas[:1]
	})
	s.awaitReplica()
	must(t, s.replicas[0].PauseReplay(t.Context()))
	version, _ := s.write("/probe", "y")
	eventually(t, "a replica that stands is left", func() bool {
		before := s.ReadCounts().Unfit
		got, err := s.read("/probe", "")
		return err == nil && got == version && s.ReadCounts().Unfit > before
	})
	must(t, s.replicas[0].ResumeReplay(t.Context()))
	s.awaitReplica()
}

// TestPrimaryKilled: reads go on, changes fail with an error that says why, and everything comes back by itself.
func TestPrimaryKilled(t *testing.T) {
	s := newSeparated(t, nil)
	s.awaitReplica()
	version, token := s.write("/a", "x")
	for _, r := range s.replicas {
		must(t, s.primary.AwaitReplay(t.Context(), r))
	}
	must(t, s.primary.Kill())
	for range 20 {
		if got, err := s.read("/a", token); err != nil || got != version {
			t.Fatalf("with the primary dead: %s, %v", got, err)
		}
	}
	if files, err := s.ListFiles(newSession(t).In(t.Context()), "www", "/", "", 10); err != nil || len(files) != 2 {
		t.Errorf("list with the primary dead: %v, %v", files, err)
	}
	if _, err := s.Reserve(t.Context(), catalog.Change{Pointer: pointer("/a", "y")}); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("a change with the primary dead: %v", err)
	}
	// That there is nothing cannot be said now.
	if _, err := s.read("/missing", ""); !errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file with the primary dead: %v", err)
	}
	must(t, s.primary.Start(t.Context()))
	eventually(t, "changes go on", func() bool {
		r, err := s.Reserve(t.Context(), catalog.Change{Pointer: pointer("/a", "y")})
		if err != nil {
			return false
		}
		_, err = s.Commit(t.Context(), r, "e")
		return err == nil
	})
	// A dead replica, too, is nobody's trouble.
	must(t, s.replicas[0].Kill())
	for i := range 20 {
		version, token := s.write("/b", fmt.Sprint(i))
		if got, err := s.read("/b", token); err != nil || got != version {
			t.Fatalf("with a replica dead: %s, %v", got, err)
		}
	}
}

func TestSessionTokens(t *testing.T) {
	if tok := newSession(t).Token(); tok != "" {
		t.Errorf("a session that has seen nothing has the token %q", tok)
	}
	for _, bad := range []string{"x", "!", "b25seQ", "MTIzNDo", "OjEy", "aGVsbG86MTI", string(make([]byte, 5000))} {
		if _, err := catalog.NewSession(bad); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
}
