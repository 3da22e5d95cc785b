package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"perigee/clock"
)

// Any bytes are a record or none; what passes for one is what appendRecord makes.
func FuzzRecord(f *testing.F) {
	at := spot{1, 2, 64}
	f.Add(appendRecord(nil, &head{key: key(1), seq: 9, class: Names}, []byte("meta"), nil, at), false)
	f.Add(appendRecord(nil, &head{key: key(2), seq: 1 << 60, class: Bodies}, nil, content(2, 100), at), true)
	f.Add(appendVoid(nil, 96, at), false)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if n := parseVoid(b, at); n != 0 && (n%unit != 0 || n < 0 || !bytes.Equal(appendVoid(nil, n, at), b[:voidSize])) {
			t.Fatalf("a void of %d bytes", n)
		}
		meta, body, ok := sizes(b)
		if !ok {
			return
		}
		if n := length(meta, body); n%unit != 0 || n > maxRecord+unit {
			t.Fatalf("a record of %d bytes", n)
		}
		if mend && len(b) >= headSize+meta { // so that the fuzzer gets past the checksum
			binary.LittleEndian.PutUint32(b[4:], headCRC(b, at))
		}
		h, err := parseHead(b, at)
		if err != nil || len(b) < headSize+meta+body {
			return
		}
		p := b[headSize+meta : headSize+meta+body]
		if crc32.Checksum(p, castagnoli) != h.bodyCRC {
			return
		}
		again := appendRecord(nil, &head{key: h.key, seq: h.seq, class: h.class}, b[headSize:headSize+meta], p, at)
		if h2, err := parseHead(again, at); err != nil || h2.key != h.key || h2.seq != h.seq || h2.bodyLen != h.bodyLen {
			t.Fatalf("%+v (%v), was %+v", h2, err, h)
		}
	})
}

// Any bytes are a footer or none; its entries lie within the records.
func FuzzFooter(f *testing.F) {
	f.Add(appendFooter(nil, []listed{{tag: 5, seq: 6, off: 2, length: 3, class: Bodies}, {tag: 7, off: 5, length: 1}}, 192, 1, 2), true)
	f.Add(appendFooter(nil, nil, 64, 1, 2), false)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if len(b) < trailerSize {
			return
		}
		list, trailer := b[:len(b)-trailerSize], b[len(b)-trailerSize:]
		if mend { // so that the fuzzer gets past the checksum
			crc := footerCRC(list, trailer)
			trailer[4], trailer[5], trailer[6], trailer[7] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
		}
		n, end, ok := parseTrailer(trailer, 1, 2)
		if !ok || n*listedSize != int64(len(list)) {
			return
		}
		entries, err := parseFooter(list, trailer)
		if err != nil {
			return
		}
		for _, e := range entries {
			if int64(e.off)*unit+int64(e.length)*unit > end {
				t.Fatalf("%+v behind %d", e, end)
			}
		}
	})
}

// A store opens on any segment, heat and policy file, serves nothing that was not put, and goes on.
func FuzzOpen(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "seed")
	cfg := Config{Dir: dir, Size: MinSize, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Policy: &fifo{}}
	s, err := Open(cfg)
	if err != nil {
		f.Fatal(err)
	}
	for n := range uint64(20) {
		if _, err := s.Put(Class(n%2), key(n), []byte("meta"), nil); err != nil {
			f.Fatal(err)
		}
		s.Touch(key(n))
	}
	s.Close()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	id, names, bodies := read("id"), read("segments/"+segName(0, logNames)), read("segments/"+segName(1, logProbation))
	f.Add(names, bodies, read("heat"), read("policy"))
	f.Add(names[:200], append(bodies[:300:300], bodies[310:]...), []byte{}, []byte("xxxxxxxxxx"))
	f.Fuzz(func(t *testing.T, names, bodies, heat, state []byte) {
		cfg := cfg
		cfg.Dir = t.TempDir()
		for name, b := range map[string][]byte{
			"id": id, "segments/" + segName(0, logNames): names, "segments/" + segName(1, logProbation): bodies, "heat": heat, "policy": state,
		} {
			path := filepath.Join(cfg.Dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for n := range uint64(20) {
			if ref, ok := s.Find(key(n)); ok {
				if w, err := s.Read(key(n), ref, nil); err == nil && !bytes.Equal(w.Meta, []byte("meta")) {
					t.Fatalf("record %d has meta %q", n, w.Meta)
				}
			}
		}
		if _, err := s.Put(Names, key(100), []byte("goes on"), nil); err != nil {
			t.Fatal(err)
		}
	})
}
