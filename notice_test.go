package perigee_test

import (
	"bufio"
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestNoticeNamesEveryModule: whoever imports a module says under which licence it comes.
func TestNoticeNamesEveryModule(t *testing.T) {
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := requiredModules(gomod)
	m, err := readModule(os.DirFS("."), house.module)
	if err != nil {
		t.Fatal(err)
	}

	missing := map[string]string{}
	for _, f := range m.files {
		for _, i := range f.imports {
			name := moduleOf(required, i.path)
			if i.internal || name == "" {
				continue
			}
			if !bytes.Contains(notice, []byte(noticeName(name))) {
				missing[name] = i.at
			}
		}
	}
	for name, at := range missing {
		t.Errorf("%s: %s is not in NOTICE", at, noticeName(name))
	}
}

// requiredModules returns the paths in go.mod's require blocks.
func requiredModules(gomod []byte) []string {
	var required []string
	lines := bufio.NewScanner(bytes.NewReader(gomod))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) >= 2 && strings.HasPrefix(lines.Text(), "\t") {
			required = append(required, fields[0])
		}
	}
	return required
}

// moduleOf returns the module that provides a package: the longest path that leads to it, "" for the standard library.
func moduleOf(required []string, pkg string) string {
	fits := slices.DeleteFunc(slices.Clone(required), func(m string) bool { return !hasPathPrefix([]string{m}, pkg) })
	return slices.MaxFunc(append(fits, ""), func(a, b string) int { return len(a) - len(b) })
}

// noticeName is what NOTICE calls a module: without its major version, and families of one licence as one.
func noticeName(module string) string {
	for _, family := range []string{"github.com/aws/aws-sdk-go-v2", "golang.org/x/", "github.com/hashicorp/"} {
		if strings.HasPrefix(module, family) {
			return family
		}
	}
	parts := strings.Split(module, "/")
	if last := parts[len(parts)-1]; len(parts) > 2 && strings.HasPrefix(last, "v") && strings.Trim(last[1:], "0123456789") == "" {
		parts = parts[:len(parts)-1]
	}
	return strings.Join(parts, "/")
}
