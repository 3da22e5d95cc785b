package config

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes. Its text is a number with an optional unit: B, kB, MB, GB, TB (powers of 1000) or KiB,
// MiB, GiB, TiB (powers of 1024).
type Bytes int64

var units = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseBytes reads a size. Case and a space before the unit do not matter.
func ParseBytes(s string) (Bytes, error) {
	bad := fmt.Errorf("%q is no size; write a number with a unit, such as 512B, 64kB, 256MiB or 10GB", s)
	number, size := strings.TrimSpace(s), int64(1)
	for _, u := range units {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, size = strings.TrimSpace(number[:n]), u.size
			break
		}
	}
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, bad
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64/size {
			return 0, fmt.Errorf("%q is too large a size", s)
		}
		return Bytes(n * size), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil:
		return 0, bad
	case f*float64(size) >= math.MaxInt64:
		return 0, fmt.Errorf("%q is too large a size", s)
	}
	return Bytes(f * float64(size)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(t []byte) error {
	v, err := ParseBytes(string(t))
	*b = v
	return err
}

// String returns the size with the smallest whole number that loses nothing: 10GB, not 9765625KiB.
func (b Bytes) String() string {
	number, unit := int64(b), ""
	for _, u := range units {
		if n := int64(b) / u.size; int64(b)%u.size == 0 && b > 0 && (unit == "" || n < number) {
			number, unit = n, u.name
		}
	}
	return strconv.FormatInt(number, 10) + unit
}

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Duration is a time.Duration whose text has a unit.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(t []byte) error {
	v, err := time.ParseDuration(string(t))
	if err != nil {
		return fmt.Errorf("%q is no duration; write a number with a unit, such as 500ms, 20s or 12h", t)
	}
	*d = Duration(v)
	return nil
}

// String returns the duration without units that are zero.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Std returns the duration as the standard library knows it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Secret is a value that must not be seen: every way of printing, logging or encoding it yields a mask. Only Reveal
// returns it.
type Secret struct{ value string }

// NewSecret returns a Secret that holds v.
func NewSecret(v string) Secret { return Secret{v} }

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether nothing is set.
func (s Secret) IsZero() bool { return s.value == "" }

// String returns a mask, or nothing if nothing is set.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return "********"
}

// GoString masks %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue masks slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML masks YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(t []byte) error { s.value = string(t); return nil }
