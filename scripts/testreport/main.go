// Testreport runs "go test -json" with its arguments and turns the events into a report for people: a line per package,
// the output of what failed, each skipped test with its reason, and a closing line with the counts.
//
// It ends with 1 when a test or a package failed. Where CI is set to something true, a skipped test counts as a failure too,
// unless the file given by -skips lists it; each line there is "<package> <test> <reason>".
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "`file` of tests that may skip in CI")
	flag.Parse()
	ok, err := run(*skips, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run reports whether all is well; an error means that the tests could not be run or read.
func run(skipsFile string, args []string) (bool, error) {
	rep := newReport(os.Stdout)
	rep.strict, _ = strconv.ParseBool(os.Getenv("CI"))
	if skipsFile != "" {
		f, err := os.Open(skipsFile)
		if err != nil {
			return false, err
		}
		rep.allowed, err = readSkips(f)
		f.Close()
		if err != nil {
			return false, fmt.Errorf("read %s: %w", skipsFile, err)
		}
	}

	// Ctrl-C reaches the go command and the tests too, and ends them; the report is still written. Ignoring the signal
	// instead would be inherited by the tests.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	if err := rep.read(events); err != nil {
		return false, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	// The go command fails whenever a test fails, which the events say better; alone it is a reason of its own.
	failed := cmd.Wait()
	ok := rep.summary()
	if failed != nil && ok {
		fmt.Println("FAIL: go test:", failed)
		return false, nil
	}
	return ok, nil
}

// readSkips reads the tests that may skip, as "<package> <test>".
func readSkips(r io.Reader) (map[string]bool, error) {
	allowed := map[string]bool{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: want <package> <test> <reason>, have %q: %w", n, line, fs.ErrInvalid)
		}
		allowed[fields[0]+" "+fields[1]] = true
	}
	return allowed, lines.Err()
}
