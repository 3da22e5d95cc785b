package watch

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"perigee/object"
)

func TestParseEvents(t *testing.T) {
	for file, want := range map[string][]Event{
		"aws.json":         {{"media", "a+b%2Fc.txt"}},
		"minio.json":       {{"media", "media%2Fa+b.txt"}},
		"ceph.json":        {{"media", "x/y z"}},
		"versitygw.json":   {{"media", "media/a.txt"}},
		"eventbridge.json": {{"media", "a b.txt"}},
		"sns.json":         {{"media", "a.txt"}},
		"s3test.json":      nil,
		"text.json":        nil,
	} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseEvents(b)
		if err != nil || !slices.Equal(m.Events, want) || m.Confirm != "" {
			t.Errorf("%s: %+v, %v", file, m, err)
		}
	}
	m, err := ParseEvents([]byte(`{"Type":"SubscriptionConfirmation","Message":"You have chosen …","SubscribeURL":"https://sns.example/x"}`))
	if err != nil || m.Confirm != "https://sns.example/x" || len(m.Events) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
	deep := `{"Message":{"Message":{"Message":{"Message":{"Message":{}}}}}}`
	many := `{"Records":[` + strings.TrimSuffix(strings.Repeat(`{},`, MaxEvents+1), ",") + `]}`
	for _, bad := range []string{"", "[]", "{", `{"Records":5}`, deep, many, strings.Repeat(" ", MaxMessage+1)} {
		if _, err := ParseEvents([]byte(bad)); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestKeys(t *testing.T) {
	for key, want := range map[string][]object.Key{
		"a/b": {"a/b"}, "a+b%2Fc": {"a+b%2Fc", "a b/c", "a+b/c"}, "100%": {"100%"}, "a%20b": {"a%20b", "a b"}, "\xff": nil,
		strings.Repeat("x", 1025): nil,
	} {
		if got := (Event{"b", key}).keys(); !slices.Equal(got, want) {
			t.Errorf("%.20q: %q", key, got)
		}
	}
}

func FuzzParseEvents(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseEvents(b)
		if err != nil && !errors.Is(err, object.ErrInvalid) {
			t.Fatal(err)
		}
		if len(m.Events) > MaxEvents+1 {
			t.Fatalf("%d events", len(m.Events))
		}
		for _, e := range m.Events {
			if n := len(e.keys()); n > 3 {
				t.Fatalf("%q has %d meanings", e.Key, n)
			}
		}
	})
}
