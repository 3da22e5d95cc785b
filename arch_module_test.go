package perigee_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is every Go file of a module, parsed.
type module struct {
	set      *token.FileSet
	files    []*source
	packages map[string][]*source // folder -> files, tests included
}

// source is one Go file.
type source struct {
	path    string // slash-separated, from the module's root
	dir     string // folder of path, "." for the root
	test    bool   // a _test.go file
	suite   bool   // part of a contract suite: a package that tests import, named <what>test
	ast     *ast.File
	imports []imported
}

// imported is one import of one file.
type imported struct {
	path     string // for a package of the module: its folder
	internal bool
	name     string // how the file calls it, "" when it does not say
	at       string // file:line
}

// readModule parses all Go files below fsys, whatever their build constraints: a rule holds on every platform.
// Folders that the go command ignores are ignored here too.
func readModule(fsys fs.FS, name string) (*module, error) {
	m := &module{set: token.NewFileSet(), packages: map[string][]*source{}}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if p != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(p) != ".go" {
			return nil
		}
		return m.read(fsys, p, name)
	})
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	if len(m.files) == 0 {
		return nil, fmt.Errorf("read module: no Go file: %w", fs.ErrNotExist)
	}
	return m, nil
}

func (m *module) read(fsys fs.FS, p, name string) error {
	text, err := fs.ReadFile(fsys, p)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(m.set, p, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	f := &source{path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), ast: parsed}
	f.suite = !f.test && isSuite(f.dir)
	for _, spec := range parsed.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", m.at(spec.Pos()), err)
		}
		i := imported{path: target, at: m.at(spec.Pos())}
		if target == name {
			i.path, i.internal = ".", true
		} else if below, ok := strings.CutPrefix(target, name+"/"); ok {
			i.path, i.internal = below, true
		}
		if spec.Name != nil {
			i.name = spec.Name.Name
		}
		f.imports = append(f.imports, i)
	}
	m.files = append(m.files, f)
	m.packages[f.dir] = append(m.packages[f.dir], f)
	return nil
}

// isSuite says whether a folder holds a contract suite, such as catalogtest or net/http/httptest.
func isSuite(dir string) bool {
	base := path.Base(dir)
	return strings.HasSuffix(base, "test") && base != "test"
}

// dirs returns the folder of every package, sorted.
func (m *module) dirs() []string { return slices.Sorted(maps.Keys(m.packages)) }

// imports returns what the code of a package imports, without its tests.
func (m *module) imports(dir string) []imported {
	var all []imported
	for _, f := range m.packages[dir] {
		if !f.test {
			all = append(all, f.imports...)
		}
	}
	return all
}

func (m *module) at(p token.Pos) string {
	position := m.set.Position(p)
	return position.Filename + ":" + strconv.Itoa(position.Line)
}

// lines counts the lines a node covers; a final newline starts no line.
func (m *module) lines(from, to token.Pos) int {
	end := m.set.Position(to)
	n := end.Line - m.set.Position(from).Line
	if end.Column > 1 {
		n++
	}
	return n
}

// importName returns how the file calls a standard package, "." for a dot import, "" when it does not import it.
func (f *source) importName(target string) string {
	for _, i := range f.imports {
		if i.path != target || i.internal {
			continue
		}
		if i.name != "" {
			return i.name
		}
		return path.Base(target)
	}
	return ""
}

// undocumented returns the exported names that a declaration leaves without a comment. Methods of unexported types
// are not seen from outside.
func undocumented(d ast.Decl) []*ast.Ident {
	var names []*ast.Ident
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && (d.Recv == nil || receiverIsExported(d.Recv.List[0].Type)) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if d.Doc == nil && spec.Doc == nil {
					names = append(names, spec.Name)
				}
			case *ast.ValueSpec:
				if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					names = append(names, spec.Names...)
				}
			}
		}
	}
	return slices.DeleteFunc(names, func(name *ast.Ident) bool { return !name.IsExported() })
}

func receiverIsExported(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverIsExported(t.X)
	case *ast.IndexExpr:
		return receiverIsExported(t.X)
	case *ast.IndexListExpr:
		return receiverIsExported(t.X)
	case *ast.Ident:
		return t.IsExported()
	}
	return false
}

// matches says whether a folder or import path fits a pattern: itself, or with "/..." itself and everything below.
func matches(pattern, p string) bool {
	root, below := strings.CutSuffix(pattern, "/...")
	return p == root || below && strings.HasPrefix(p, root+"/")
}

func matchesAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, p) })
}

// hasPathPrefix says whether p is one of the prefixes or a package below one.
func hasPathPrefix(prefixes []string, p string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return matches(prefix+"/...", p) })
}
