package update

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
)

// entry is a file, or something else, in an archive.
type entry struct {
	name string
	kind byte // of tar; 0 is a file
	data string
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Size: int64(len(e.data)), Mode: 0o644}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		} else {
			h.Linkname, h.Size = e.data, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, e.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	const limit = 1 << 20
	data := strings.Repeat("geo data ", 1000)
	city := entry{name: "GeoLite2-City_20261124/GeoLite2-City.mmdb", data: data}
	licence := entry{name: "GeoLite2-City_20261124/LICENSE.txt", data: "terms"}
	second := entry{name: "package/other.mmdb", data: "other"}
	zeros := bytes.Repeat([]byte{0}, limit+1)
	for _, x := range []struct {
		name, member string
		packed       []byte
		want, says   string // what is unpacked, or the error says
	}{
		{"plain", "", []byte(data), data, ""},
		{"gzip", "", zipped(t, []byte(data)), data, ""},
		{"tar", "", archive(t, licence, city), data, ""},
		{"tar and gzip", "", zipped(t, archive(t, licence, city)), data, ""},
		{"one of two", "other.mmdb", zipped(t, archive(t, city, second)), "other", ""},
		{"one of two by its path", "package/other.mmdb", zipped(t, archive(t, second, city)), "other", ""},
		{"two", "", zipped(t, archive(t, city, second)), "", "behind a '#'"},
		{"none", "", zipped(t, archive(t, licence)), "", "ends with .mmdb"},
		{"not that one", "x.mmdb", zipped(t, archive(t, city)), "", `"x.mmdb"`},
		{"a name that climbs", "", archive(t, entry{name: "../../etc/geo.mmdb", data: data}), data, ""},
		{"links", "", archive(t, entry{"geo.mmdb", tar.TypeSymlink, "/etc/passwd"}, entry{"x/geo.mmdb", tar.TypeLink, "/etc/passwd"}), "", "ends with .mmdb"},
		{"empty", "", nil, "", "empty"},
		{"zip", "", []byte("PK\x03\x04 and so on"), "", "zip"},
		{"cut gzip", "", zipped(t, []byte(data))[:40], "", "unexpected EOF"},
		{"damaged gzip", "", append(zipped(t, []byte(data))[:30], "and then something else"...), "", "gzip"},
		{"cut archive", "", archive(t, city)[:2000], "", "unexpected EOF"},
		{"bomb", "", zipped(t, zeros), "", "larger than allowed"},
		{"bomb before the file", "", zipped(t, archive(t, entry{name: "filler", data: string(zeros)}, city)), "", "larger than allowed"},
		{"plain beyond the limit", "", zeros, "", "larger than allowed"},
		{"plain at the limit", "", zeros[1:], string(zeros[1:]), ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			var out bytes.Buffer
			err := unpack(&out, bytes.NewReader(x.packed), x.member, limit)
			if x.says != "" {
				if err == nil || !strings.Contains(err.Error(), x.says) {
					t.Errorf("%v, want an error that says %q", err, x.says)
				}
				if out.Len() > limit {
					t.Errorf("%d bytes were written", out.Len())
				}
				return
			}
			if err != nil || out.String() != x.want {
				t.Errorf("%d bytes, %v; want %d", out.Len(), err, len(x.want))
			}
		})
	}
}

// TestUnpackManyEntries: an archive of nothing but heads ends, too.
func TestUnpackManyEntries(t *testing.T) {
	entries := make([]entry, maxEntries+1)
	for i := range entries {
		entries[i].name = "x"
	}
	err := unpack(io.Discard, bytes.NewReader(zipped(t, archive(t, entries...))), "", 1<<30)
	if err == nil || !strings.Contains(err.Error(), "more than 10000 entries") {
		t.Error(err)
	}
}

// TestUnpackASparseEntry: a few bytes of an archive that say they are a terabyte.
func TestUnpackASparseEntry(t *testing.T) {
	sparse := archive(t, entry{name: "geo.mmdb"})
	// The old GNU form of a sparse file: type 'S', no data regions, and the real size in base 256 at offset 483.
	sparse[156] = 'S'
	copy(sparse[257:265], "ustar  \x00")
	copy(sparse[386:482], make([]byte, 96))
	copy(sparse[483:495], []byte{0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0})
	sum := 0
	copy(sparse[148:156], "        ")
	for _, b := range sparse[:512] {
		sum += int(b)
	}
	copy(sparse[148:156], []byte{'0', '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	var out bytes.Buffer
	if err := unpack(&out, bytes.NewReader(sparse), "", 1<<16); err == nil || out.Len() > 1<<16 {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

func TestBounded(t *testing.T) {
	for size, ok := range map[int]bool{0: true, 9: true, 10: true, 11: false, 100: false} {
		data, err := io.ReadAll(&bounded{r: strings.NewReader(strings.Repeat("x", size)), left: 10, limit: 10})
		if ok != (err == nil) || !ok && !errors.Is(err, errTooLarge) || len(data) != min(size, 10) {
			t.Errorf("%d bytes: %d, %v", size, len(data), err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	const limit = 64 << 10
	city := entry{name: "x/geo.mmdb", data: "data"}
	f.Add([]byte("plain"), "")
	f.Add(zipped(f, []byte("data")), "")
	f.Add(archive(f, city, entry{name: "y/other.mmdb", data: "o"}), "other.mmdb")
	f.Add(zipped(f, archive(f, city)), "")
	f.Add(zipped(f, bytes.Repeat([]byte{0}, 2*limit)), "")
	f.Fuzz(func(t *testing.T, packed []byte, member string) {
		var out bytes.Buffer
		if err := unpack(&out, bytes.NewReader(packed), member, limit); err == nil && out.Len() == 0 && len(packed) == 0 {
			t.Error("nothing was taken for something")
		}
		if out.Len() > limit {
			t.Errorf("%d bytes were written, %d are allowed", out.Len(), limit)
		}
	})
}

func FuzzPublishedSum(f *testing.F) {
	f.Add("d41d8cd98f00b204e9800998ecf8427e  geo.mmdb\n", "geo.mmdb")
	f.Add("SHA256 (a) = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "b")
	f.Fuzz(func(t *testing.T, text, name string) {
		if sum := publishedSum(text, name); sum != "" && len(sum) != 32 && len(sum) != 64 {
			t.Errorf("%q", sum)
		}
	})
}
