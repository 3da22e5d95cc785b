package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is one line of "go test -json"; see go doc test2json. Lines about builds carry ImportPath instead of Package.
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	ImportPath  string
	FailedBuild string
}

// report collects the outcome of a run. Output is kept only while its test may still fail.
type report struct {
	out     io.Writer
	strict  bool            // a skip that is not allowed is a failure
	allowed map[string]bool // "<package> <test>"
	start   time.Time

	output  map[string][]string // "<package> <test>", "<package> " or "build <import path>" -> lines
	failing map[string]bool     // packages in which a test failed
	skipped []skip
	lost    []string // packages that failed without a failing test: not built, crashed, timed out

	passed, failed int
}

type skip struct{ test, reason string }

func newReport(out io.Writer) *report {
	return &report{out: out, start: time.Now(), output: map[string][]string{}, failing: map[string]bool{}}
}

// read takes events until the stream ends. A line that is no event is passed on: the go command says it in plain text.
func (r *report) read(events io.Reader) error {
	in := bufio.NewReader(events)
	for {
		line, err := in.ReadBytes('\n')
		var e event
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &e) != nil:
			fmt.Fprintf(r.out, "%s", line)
		default:
			r.take(e)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events of go test: %w", err)
		}
	}
}

func (r *report) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "build-output":
		r.output["build "+e.ImportPath] = append(r.output["build "+e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
			return
		}
		r.endTest(e, key)
		delete(r.output, key)
	}
}

func (r *report) endTest(e event, key string) {
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped = append(r.skipped, skip{key, reason(r.output[key])})
	case "fail":
		r.failed++
		r.failing[e.Package] = true
		fmt.Fprintf(r.out, "\nFAIL  %s\n", key)
		r.print(key)
	}
}

func (r *report) endPackage(e event) {
	took := time.Duration(e.Elapsed * float64(time.Second)).Round(100 * time.Millisecond)
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %s %s\n", e.Package, took)
	case "fail":
		fmt.Fprintf(r.out, "FAIL  %s %s\n", e.Package, took)
		if !r.failing[e.Package] {
			r.lost = append(r.lost, e.Package)
		}
		if e.FailedBuild != "" {
			r.print("build " + e.FailedBuild)
		}
		// What is left belongs to tests that a crash or the time limit ended, and to the package itself.
		for _, key := range slices.Sorted(maps.Keys(r.output)) {
			if strings.HasPrefix(key, e.Package+" ") {
				r.print(key)
			}
		}
	}
	maps.DeleteFunc(r.output, func(key string, _ []string) bool { return strings.HasPrefix(key, e.Package+" ") })
}

// frame matches the lines that the testing package and the go command put around what a test says.
var frame = regexp.MustCompile(`^(=== |--- |FAIL\b|exit status )`)

// print shows what was kept under a key, without its frame: the report says the same.
func (r *report) print(key string) {
	for _, line := range r.output[key] {
		if !frame.MatchString(line) {
			fmt.Fprint(r.out, line)
		}
	}
}

// location is what the testing package writes before a message.
var location = regexp.MustCompile(`^\S+\.go:\d+: `)

// reason is what a skipped test said last.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		line = strings.TrimSpace(line)
		if line != "" && !frame.MatchString(line) {
			return location.ReplaceAllString(line, "")
		}
	}
	return "no reason given"
}

// summary names each skipped test, gives the counts in the last line, and reports whether all is well.
func (r *report) summary() bool {
	refused := 0
	fmt.Fprintln(r.out)
	for _, s := range r.skipped {
		verdict := ""
		if r.strict && !r.allowed[s.test] {
			verdict = " (a failure in CI: not in the list of skips)"
			refused++
		}
		fmt.Fprintf(r.out, "skipped %s: %s%s\n", s.test, s.reason, verdict)
	}
	for _, p := range r.lost {
		fmt.Fprintf(r.out, "failed %s: as a whole\n", p)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped in %s\n",
		r.passed, r.failed+len(r.lost), len(r.skipped), time.Since(r.start).Round(time.Second))
	return r.failed == 0 && len(r.lost) == 0 && refused == 0
}
