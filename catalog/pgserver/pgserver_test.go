package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	if _, err := Find(); errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("its directory is still there: %v", err)
		}
	})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask returns the one value that a query answers, as text.
func ask(t *testing.T, s *Server, query string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), s.DSN(Database))
	must(t, err)
	defer c.Close(context.WithoutCancel(t.Context()))
	var text string
	must(t, c.QueryRow(t.Context(), query).Scan(&text))
	return text
}

func TestPrimaryAndReplica(t *testing.T) {
	primary := start(t, Config{Durable: true})
	replica, err := primary.Replica(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, replica.Remove()) })
	must(t, primary.Exec(t.Context(), Database, "CREATE TABLE t (x text)", "INSERT INTO t VALUES ('one')"))
	must(t, primary.AwaitReplay(t.Context(), replica))
	if got := ask(t, replica, "SELECT x FROM t"); got != "one" {
		t.Errorf("the replica has %q", got)
	}
	must(t, replica.PauseReplay(t.Context()))
	must(t, primary.Exec(t.Context(), Database, "UPDATE t SET x = 'two'"))
	if got := ask(t, replica, "SELECT x FROM t"); got != "one" {
		t.Errorf("a replica that stands has %q", got)
	}
	must(t, replica.ResumeReplay(t.Context()))
	must(t, primary.AwaitReplay(t.Context(), replica))
	if got := ask(t, replica, "SELECT x FROM t"); got != "two" {
		t.Errorf("a replica that goes on has %q", got)
	}

	// A killed primary answers nobody, its replica goes on; started again it has what was committed, and the replica follows.
	must(t, primary.Kill())
	if err := primary.Exec(t.Context(), Database, "SELECT 1"); err == nil {
		t.Error("a killed server answers")
	}
	if got := ask(t, replica, "SELECT x FROM t"); got != "two" {
		t.Errorf("without a primary the replica has %q", got)
	}
	must(t, primary.Start(t.Context()))
	must(t, primary.Exec(t.Context(), Database, "UPDATE t SET x = 'three' WHERE x = 'two'"))
	must(t, primary.AwaitReplay(t.Context(), replica))
	if got := ask(t, replica, "SELECT x FROM t"); got != "three" {
		t.Errorf("after the restart the replica has %q", got)
	}
	must(t, primary.Stop())
	must(t, replica.Promote(t.Context()))
	must(t, replica.Exec(t.Context(), Database, "UPDATE t SET x = 'four'"))
}

func TestDatabasesDoNotCollateByteByByte(t *testing.T) {
	s := start(t, Config{})
	if got := ask(t, s, "SELECT ('a' < 'B')::text"); got != "true" {
		t.Error("'a' sorts behind 'B': a query without COLLATE \"C\" would pass every test")
	}
}

func TestKillEndsEveryProcess(t *testing.T) {
	s := start(t, Config{})
	pid := s.process.Pid
	if len(childrenOf(pid)) < 3 {
		t.Fatalf("it has %d children, which cannot be", len(childrenOf(pid)))
	}
	children := childrenOf(pid)
	must(t, s.Kill())
	deadline := time.Now().Add(time.Minute)
	for _, child := range children {
		for alive(child) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is still there", child)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// alive reports whether a process is there and more than a zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestDatabaseNames(t *testing.T) {
	s := start(t, Config{})
	const name = `it's a "name" with \`
	dsn, err := s.CreateDatabase(t.Context(), name)
	must(t, err)
	c, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	defer c.Close(context.WithoutCancel(t.Context()))
	var got string
	must(t, c.QueryRow(t.Context(), "SELECT current_database()").Scan(&got))
	if got != name {
		t.Errorf("connected to %q", got)
	}
}

func TestErrorsAreClear(t *testing.T) {
	if _, err := Start(t.Context(), Config{Dir: "/tmp/" + strings.Repeat("x", 100)}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("long path: %v", err)
	}
	if _, err := Start(t.Context(), Config{Bin: "/no/such/bin"}); err == nil || !strings.Contains(err.Error(), "/no/such/bin") {
		t.Errorf("no programs: %v", err)
	}
}
