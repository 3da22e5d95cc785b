package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, New(409, "exists", "The name is taken.", RequestID(w.Header())))
	var d Document
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if w.Code != 409 || w.Header().Get("Content-Type") != MediaType || d.Type != "/problems/exists" || d.Title != "Conflict" || d.Status != 409 ||
		d.Detail != "The name is taken." || d.RequestID == "" || d.RequestID != w.Header().Get(RequestIDHeader) {
		t.Errorf("%d %v %+v", w.Code, w.Header(), d)
	}
	w.Header().Set(RequestIDHeader, "outer")
	if id := RequestID(w.Header()); id != "outer" {
		t.Errorf("the id of an outer handler was lost: %s", id)
	}
	if KindOf(d.Type) != "exists" || KindOf("about:blank") != "" {
		t.Error("KindOf")
	}
	if err := fmt.Errorf("put: %w", Kind("exists")); !errors.Is(err, Kind("exists")) || errors.Is(err, Kind("busy")) {
		t.Error("a kind is no error")
	}
}

func TestKindsAreWhole(t *testing.T) {
	seen := map[Kind]bool{}
	for _, k := range Kinds() {
		if seen[k.Kind] || !word.MatchString(string(k.Kind)) || len(k.Statuses) == 0 || !strings.HasSuffix(k.Meaning, ".") {
			t.Errorf("%+v", k)
		}
		seen[k.Kind] = true
		for _, s := range k.Statuses {
			if s < 400 || statusText(s) == "" {
				t.Errorf("%s: %d is no status of an error", k.Kind, s)
			}
		}
	}
}

// TestKindsAreInTheDocs compares the list with the table of docs/api.md, line by line.
func TestKindsAreInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, k := range Kinds() {
		statuses := make([]string, len(k.Statuses))
		for i, s := range k.Statuses {
			statuses[i] = strconv.Itoa(s)
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", k.Kind, strings.Join(statuses, ", "), k.Meaning))
	}
	var got []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("docs/api.md lacks: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("docs/api.md has what is not listed: %s", line)
		}
	}
}

var word = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

// faces are the packages that answer with problems.
var faces = []string{"../upload", "../web", "../keys", "../idempotency", "../cmd/perigee"}

// statuses are the names of package http's constants.
var statuses = map[string]int{}

// TestEveryKindInTheCodeIsListed reads the sources: wherever a status and a kind stand side by side, the kind is listed with that status;
// and every kind that is listed is used.
func TestEveryKindInTheCodeIsListed(t *testing.T) {
	for s := 400; s < 600; s++ {
		if text := http.StatusText(s); text != "" {
			statuses["Status"+strings.NewReplacer(" ", "", "-", "", "'", "").Replace(text)] = s
		}
	}
	statuses["StatusChecksum"] = StatusChecksum
	used := map[Kind]bool{}
	for _, dir := range faces {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, name := range files {
			if !strings.HasSuffix(name, "_test.go") {
				readKinds(t, name, used)
			}
		}
	}
	for _, k := range Kinds() {
		if !used[k.Kind] {
			t.Errorf("%s is listed and nobody answers with it", k.Kind)
		}
	}
}

func readKinds(t *testing.T, name string, used map[Kind]bool) {
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	pairs := func(list []ast.Expr) {
		list = slices.Clone(list)
		for i, e := range list {
			if field, ok := e.(*ast.KeyValueExpr); ok {
				list[i] = field.Value
			}
			k, ok := kindOf(list[i])
			if !ok {
				continue
			}
			status := 0
			if i > 0 {
				status = statusOf(list[i-1])
			}
			if status == 0 {
				continue
			}
			used[k] = true
			if d, ok := Find(k); !ok || !slices.Contains(d.Statuses, status) {
				t.Errorf("%s: %s with status %d is not listed in package problem", fset.Position(e.Pos()), k, status)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			pairs(n.Args)
			if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (id.Name == "refuse" || id.Name == "Kind") {
				if k, ok := kindOf(n.Args[0]); ok { // a status that the function adds
					used[k] = true
					if _, ok := Find(k); !ok {
						t.Errorf("%s: %s is not listed in package problem", fset.Position(n.Pos()), k)
					}
				}
			}
		case *ast.CompositeLit:
			pairs(n.Elts)
		case *ast.AssignStmt:
			pairs(n.Rhs)
		}
		return true
	})
}

// kindOf returns the kind that an expression is: a word in quotes, or problem.Kind of one.
func kindOf(e ast.Expr) (Kind, bool) {
	if c, ok := e.(*ast.CallExpr); ok && len(c.Args) == 1 {
		if s, ok := c.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Kind" {
			e = c.Args[0]
		}
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	v, err := strconv.Unquote(lit.Value)
	return Kind(v), err == nil && word.MatchString(v)
}

// statusOf returns the status that an expression like http.StatusConflict is, 0 if it is none.
func statusOf(e ast.Expr) int {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return 0
	}
	return statuses[s.Sel.Name]
}
