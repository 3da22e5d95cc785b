package object

import (
	"fmt"
	"time"
)

// Version names one state of a path (or of a site record). It is opaque outside this package but for one
// property: of two versions of one path, the greater string is the newer.
//
// The form is 16 digits of base32hex (RFC 4648 §7, lower case): 13 for microseconds since 1970, 3 for the writer, so that two
// regions that publish in the same microsecond never issue the same version.
type Version string

const versionDigits = "0123456789abcdefghijklmnopqrstuv"

// NextVersion returns the version for a change at time now that follows after ("" for the first one). It is
// greater than after even if the clock stepped back. writer tells regions apart; 0 to 32767.
func NextVersion(now time.Time, writer uint16, after Version) Version {
	us := uint64(max(now.UnixMicro(), 0))
	if after != "" {
		if last := after.micros(); us <= last {
			us = last + 1
		}
	}
	var b [16]byte
	w := uint64(writer & 0x7fff)
	for i := 15; i >= 13; i-- {
		b[i] = versionDigits[w&31]
		w >>= 5
	}
	for i := 12; i >= 0; i-- {
		b[i] = versionDigits[us&31]
		us >>= 5
	}
	return Version(b[:])
}

// ParseVersion checks s. Errors wrap ErrInvalid.
func ParseVersion(s string) (Version, error) {
	ok := len(s) == 16 && s[0] <= 'f' // 13 digits hold 65 bits; the first may use four of its five
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = '0' <= c && c <= '9' || 'a' <= c && c <= 'v'
	}
	if !ok {
		return "", fmt.Errorf("version %q: %w", clip(s), ErrInvalid)
	}
	return Version(s), nil
}

// Time returns when the version was issued, to the microsecond.
func (v Version) Time() time.Time { return time.UnixMicro(int64(v.micros())).UTC() }

func (v Version) micros() uint64 {
	var n uint64
	for i := 0; i < 13 && i < len(v); i++ {
		c := v[i]
		d := uint64(c - '0')
		if c >= 'a' {
			d = uint64(c-'a') + 10
		}
		n = n<<5 | d&31
	}
	return n
}
