package perigee_test

import (
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// rules is what the architecture test demands of a module. Patterns name packages by their folder: "edge" is that
// package alone, "edge/..." is it and everything below, "." is the root of the module.
type rules struct {
	module      string
	faces       map[string]string // pattern of a face's packages -> its name
	programs    []string          // who may import faces
	independent []string          // who must not reach deciding, directly or through others
	deciding    []string          // packages of the module and import path prefixes
	restricted  []restriction
	pure        []string // who uses the standard library only, without impure
	impure      []string
	timekeepers []string // who may call the functions of package time that read or wait for the clock

	maxFileLines, maxFuncLines int
	exceptions                 map[string]string // "file" or "file:Func" beyond a size limit -> why it stands
}

// restriction says that only some packages may import what has one of the given import path prefixes.
type restriction struct {
	what    string
	only    []string
	imports []string
}

// forbiddenNames are package names that say nothing about what is inside.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "type", "types", "model", "models",
	"manager", "base", "misc", "shared", "service", "lib"}

// clockCalls are the functions of package time that read the machine's clock or wait for it.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// check returns every breach of the rules in the module rooted at fsys, sorted; the error says that it could not be read.
func (r rules) check(fsys fs.FS) ([]string, error) {
	m, err := readModule(fsys, r.module)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, rule := range []func(*module) []string{
		r.faceImports, r.independence, r.restrictions, r.purity, r.suites, r.acyclic,
		r.names, r.comments, r.docs, r.inits, r.clocks, r.sizes,
	} {
		found = append(found, rule(m)...)
	}
	slices.Sort(found)
	return found, nil
}

// faceImports: faces never import one another, libraries never import a face, nothing imports a command.
func (r rules) faceImports(m *module) []string {
	var found []string
	for _, f := range m.files {
		for _, i := range f.imports {
			if i.internal && matches("cmd/...", i.path) && !matches("cmd/...", f.dir) {
				found = append(found, i.at+": nothing imports cmd")
			}
			face := r.face(i.path)
			if !i.internal || face == "" || face == r.face(f.dir) || matchesAny(r.programs, f.dir) {
				continue
			}
			found = append(found, fmt.Sprintf("%s: %s imports face %s: faces meet only in programs", i.at, f.dir, face))
		}
	}
	return found
}

func (r rules) face(dir string) string {
	for pattern, name := range r.faces {
		if matches(pattern, dir) {
			return name
		}
	}
	return ""
}

// independence: no serving package reaches the catalogue or SQL. The message shows the whole way there.
func (r rules) independence(m *module) []string {
	var found []string
	for _, dir := range m.dirs() {
		if !matchesAny(r.independent, dir) {
			continue
		}
		if way := r.wayToDeciding(m, dir, map[string]bool{}); way != nil {
			found = append(found, fmt.Sprintf("%s: must serve without deciding, but imports %s", dir, strings.Join(way, " -> ")))
		}
	}
	return found
}

func (r rules) wayToDeciding(m *module, dir string, seen map[string]bool) []string {
	seen[dir] = true
	for _, i := range m.imports(dir) {
		if hasPathPrefix(r.deciding, i.path) {
			return []string{i.path}
		}
		if !i.internal || seen[i.path] {
			continue
		}
		if way := r.wayToDeciding(m, i.path, seen); way != nil {
			return append([]string{i.path}, way...)
		}
	}
	return nil
}

// restrictions: a third-party concept stays behind the one package that translates it. Tests are held to it too.
func (r rules) restrictions(m *module) []string {
	var found []string
	for _, f := range m.files {
		for _, i := range f.imports {
			for _, x := range r.restricted {
				if hasPathPrefix(x.imports, i.path) && !matchesAny(x.only, f.dir) {
					found = append(found, fmt.Sprintf("%s: %s imports %s (%s): only %s may", i.at, f.dir, i.path, x.what, strings.Join(x.only, ", ")))
				}
			}
		}
	}
	return found
}

// purity: a pure package uses the standard library only, and no part of it that does I/O.
func (r rules) purity(m *module) []string {
	var found []string
	for _, f := range m.files {
		if f.test || !matchesAny(r.pure, f.dir) {
			continue
		}
		for _, i := range f.imports {
			if i.internal || strings.Contains(strings.Split(i.path, "/")[0], ".") {
				found = append(found, fmt.Sprintf("%s: %s is pure: standard library only, not %s", i.at, f.dir, i.path))
			} else if matchesAny(r.impure, i.path) {
				found = append(found, fmt.Sprintf("%s: %s is pure: %s does I/O", i.at, f.dir, i.path))
			}
		}
	}
	return found
}

// suites: what is made for tests stays out of the program.
func (r rules) suites(m *module) []string {
	var found []string
	for _, f := range m.files {
		if f.test || f.suite || matches("e2e/...", f.dir) {
			continue
		}
		for _, i := range f.imports {
			if isSuite(i.path) || i.path == "testing" || strings.HasPrefix(i.path, "testing/") {
				found = append(found, fmt.Sprintf("%s: %s is for tests", i.at, i.path))
			}
		}
	}
	return found
}

// acyclic: each cycle of imports is named once. The compiler would refuse it too, with a longer message and only when asked.
func (r rules) acyclic(m *module) []string {
	var found []string
	done := map[string]bool{}
	var visit func(dir string, trail []string)
	visit = func(dir string, trail []string) {
		if at := slices.Index(trail, dir); at >= 0 {
			found = append(found, "import cycle: "+strings.Join(append(slices.Clone(trail[at:]), dir), " -> "))
			return
		}
		if done[dir] {
			return
		}
		for _, i := range m.imports(dir) {
			if i.internal {
				visit(i.path, append(slices.Clone(trail), dir))
			}
		}
		done[dir] = true
	}
	for _, dir := range m.dirs() {
		visit(dir, nil)
	}
	return found
}

// names: a package is named for what it provides.
func (r rules) names(m *module) []string {
	var found []string
	for _, dir := range m.dirs() {
		name := m.packages[dir][0].ast.Name.Name
		if slices.Contains(forbiddenNames, path.Base(dir)) || slices.Contains(forbiddenNames, strings.TrimSuffix(name, "_test")) {
			found = append(found, fmt.Sprintf("%s: a package named %s says nothing about what is inside", dir, path.Base(dir)))
		}
	}
	return found
}

// comments: every package says what it is, in exactly one of its files.
func (r rules) comments(m *module) []string {
	var found []string
	for _, dir := range m.dirs() {
		var code int
		var docs []string
		for _, f := range m.packages[dir] {
			if f.test {
				continue
			}
			code++
			if f.ast.Doc == nil {
				continue
			}
			docs = append(docs, f.path)
			name := f.ast.Name.Name
			if text := f.ast.Doc.Text(); name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
				found = append(found, fmt.Sprintf("%s: the package comment must begin with %q", f.path, "Package "+name))
			}
		}
		if code > 0 && len(docs) == 0 {
			found = append(found, dir+": no package comment")
		}
		if len(docs) > 1 {
			found = append(found, fmt.Sprintf("%s: more than one package comment: %s", dir, strings.Join(docs, ", ")))
		}
	}
	return found
}

// docs: every exported name of a library says what it is. A comment on a group of constants or variables speaks for all.
func (r rules) docs(m *module) []string {
	var found []string
	for _, f := range m.files {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, name := range undocumented(d) {
				found = append(found, fmt.Sprintf("%s: %s has no comment", m.at(name.Pos()), name.Name))
			}
		}
	}
	return found
}

// inits: nothing happens because a package was imported.
func (r rules) inits(m *module) []string {
	var found []string
	for _, f := range m.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, m.at(fn.Pos())+": func init: build it where it is used and pass it on")
			}
		}
	}
	return found
}

// clocks: who is not a timekeeper asks the Clock it was given.
func (r rules) clocks(m *module) []string {
	var found []string
	for _, f := range m.files {
		name := f.importName("time")
		if f.test || f.suite || name == "" || matchesAny(r.timekeepers, f.dir) {
			continue
		}
		if name == "." {
			found = append(found, f.path+": a dot import of time hides who asks the clock")
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == name && slices.Contains(clockCalls, sel.Sel.Name) {
				found = append(found, fmt.Sprintf("%s: time.%s: ask the clock.Clock of the Config", m.at(sel.Pos()), sel.Sel.Name))
			}
			return true
		})
	}
	return found
}

// sizes: no file and no function grows beyond what one reads in one go, generated code and tests aside. An exception
// that is no longer needed is a breach of its own.
func (r rules) sizes(m *module) []string {
	var found []string
	unused := maps.Clone(r.exceptions)
	over := func(what, at string, lines, limit int) {
		if lines <= limit {
			return
		}
		if _, ok := r.exceptions[what]; ok {
			delete(unused, what)
			return
		}
		found = append(found, fmt.Sprintf("%s: %s has %d lines, at most %d", at, what, lines, limit))
	}
	for _, f := range m.files {
		if f.test || f.suite || ast.IsGenerated(f.ast) {
			continue
		}
		over(f.path, f.path, m.lines(f.ast.FileStart, f.ast.FileEnd), r.maxFileLines)
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				over(f.path+":"+fn.Name.Name, m.at(fn.Pos()), m.lines(fn.Pos(), fn.End()), r.maxFuncLines)
			}
		}
	}
	for what := range unused {
		found = append(found, what+": its exception from the size limits is no longer needed")
	}
	return found
}
