package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"perigee/client/clienttest"
)

// openTerminal returns both ends of a new pseudo-terminal of 100 columns.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("this system has no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this system has no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { program.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return person, program
}

func TestProgressBarIsDrawnOnATerminalAlone(t *testing.T) {
	root := t.TempDir()
	for i := range 3 {
		writeFile(t, filepath.Join(root, fmt.Sprint(i)), "content")
	}
	s := clienttest.New(t)
	person, program := openTerminal(t)
	var screen bytes.Buffer
	drawn, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 1024)
		var once sync.Once
		for {
			n, err := person.Read(b)
			screen.Write(b[:n])
			if strings.Contains(screen.String(), "0/3 files") {
				once.Do(func() { close(drawn) })
			}
			if err != nil {
				return
			}
		}
	}()
	s.Before = func(r *http.Request) int {
		if r.Method == http.MethodPut { // nothing is stored before the bar was seen
			select {
			case <-drawn:
			case <-time.After(time.Minute):
				return http.StatusForbidden
			}
		}
		return 0
	}
	var out bytes.Buffer
	code := run(t.Context(), []string{"put", root}, contact(s), strings.NewReader(""), &out, program)
	program.Close()
	<-ended
	text := screen.String()
	if code != 0 || strings.Count(out.String(), "http://") != 3 || strings.ContainsAny(out.String(), "\r\x1b") {
		t.Errorf("%d %q", code, out.String())
	}
	if last := text[strings.LastIndex(text, "\x1b[K"):]; !strings.Contains(last, "3 files: 3 uploaded") || strings.Contains(last, "[=") {
		t.Errorf("the bar was left on the screen: %q", text)
	}
}

func TestRmAsksAPerson(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 0, "YES\n": 0, "n\n": 1, "\n": 1, "yesterday\n": 1} {
		s := clienttest.New(t)
		root := t.TempDir()
		writeFile(t, filepath.Join(root, "d/a"), "x")
		perigee(t, contact(s), "put", root).want(t, 0)
		person, program := openTerminal(t)
		if _, err := io.WriteString(person, answer); err != nil {
			t.Fatal(err)
		}
		var errOut bytes.Buffer
		code := run(t.Context(), []string{"rm", "-r", "www:/d"}, contact(s), program, io.Discard, &errOut)
		if code != want || (len(s.Names()) == 0) != (want == 0) || !strings.Contains(errOut.String(), "delete 1 file below www:/d? [y/N]") {
			t.Errorf("%q: exit status %d, %v left, %q", answer, code, s.Names(), errOut.String())
		}
	}
}
