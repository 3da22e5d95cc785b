package cache

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// framed puts a body behind its length and checksum, so that the fuzzer gets past them.
func framed(body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

func FuzzJournal(f *testing.F) {
	pos := at(3)
	for _, rec := range []*record{
		{Name: &nameRecord{Pointer: cachetest.Pointer("www", "/file", 1, nil), Checked: 1, Purged: marks{Hard: 2}}},
		{Applied: &appliedRecord{purge.Entry{Format: 1, ID: "a", Kind: purge.KindSite, Site: "www"}, pos}},
		{State: &stateRecord{Now: 5, Position: pos, Epochs: []epochRecord{{epochKey{purge.KindTag, "www", "t"}, marks{Soft: 1}}}}},
		{Site: cachetest.Site("www", "www.example")},
		{Reset: &pos},
	} {
		f.Add(appendRecord(nil, rec)[8:], false)
		f.Add(appendRecord(nil, rec), true)
	}
	f.Add([]byte(`{"name":{}}`), false)
	f.Add([]byte(`{"applied":{}}`), false)
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0}, true)
	f.Fuzz(func(t *testing.T, b []byte, raw bool) {
		if !raw {
			b = framed(b)
		}
		k, size := replayed(b)
		if size < 0 || size > int64(len(b)) {
			t.Fatalf("%d of %d bytes read", size, len(b))
		}
		// What was read is a state: read again, it is the same, and the engine can write it down and find it again.
		again, size2 := replayed(b[:size])
		if size2 != size || again.Position != k.Position || len(again.Names) != len(k.Names) {
			t.Fatalf("read again it is %+v, not %+v", again, k)
		}
		e := &Engine{table: newTable(defaultNames), sites: object.NewSiteTable(), calls: map[nameKey]*call{}}
		readRecords(bytes.NewReader(b), e.replay)
		var out []byte
		for rec := range e.records {
			out = appendRecord(out, rec)
		}
		if back, n := replayed(out); n != int64(len(out)) || back.Position != k.Position || len(back.Names) != len(k.Names) || back.Now != k.Now {
			t.Fatalf("written down and read it is %+v, not %+v", back, k)
		}
	})
}

func FuzzParseBlobName(f *testing.F) {
	h := object.HashOf(nil)
	for _, s := range []string{"", "-", h.String(), blobName(h, 0), blobName(h, 5), blobName(h, 1<<62), h.String() + "-+5", h.String() + "-05", h.String() + "--1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, ok := parseBlobName(s)
		if ok && (blobName(x.hash, x.size) != s || x.size < 0) {
			t.Fatalf("%q was read as %s, %d", s, x.hash, x.size)
		}
		if ok {
			x.space() // of any size that a name can claim
		}
	})
}
