package object

import (
	"errors"
	"testing"
)

// TestSlotsNeverChange: rows are stored under these numbers.
func TestSlotsNeverChange(t *testing.T) {
	for _, c := range []struct {
		site Site
		path Path
		want Slot
	}{
		{"www", "/", 2805}, {"www", "/index.html", 2107}, {"blog", "/a/b c.txt", 3974}, {"www", "/文/档.txt", 2523},
	} {
		if got := SlotOf(c.site, c.path); got != c.want {
			t.Errorf("%s%s: slot %d, want %d", c.site, c.path, got, c.want)
		}
	}
	h, err := ParseHash("fedc000000000000000000000000000000000000000000000000000000000000")
	if got := SlotOfHash(h); err != nil || got != 0xfed {
		t.Errorf("slot of a hash: %x, %v", got, err)
	}
}

func TestUploadIDCarriesItsSlot(t *testing.T) {
	random := [16]byte{0xab, 0xcd, 0xef, 15: 1}
	id := NewUploadID("www", "/index.html", random)
	if _, err := ParseUploadID(string(id)); err != nil || id != "83bdef00000000000000000000000001" || id.Slot() != 2107 {
		t.Errorf("id %s, slot %d, %v", id, id.Slot(), err)
	}
	if id := NewUploadID("www", "", random); id != "abcdef00000000000000000000000001" || id.Slot() != 0xabc {
		t.Errorf("id without a path %s, slot %d", id, id.Slot())
	}
	for _, bad := range []UploadID{"", "1", "zzz"} {
		if _, err := ParseUploadID(string(bad)); !errors.Is(err, ErrInvalid) || bad.Slot() != 0 {
			t.Errorf("%q: slot %d, %v", bad, bad.Slot(), err)
		}
	}
}
