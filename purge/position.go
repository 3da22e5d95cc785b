package purge

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"perigee/object"
)

// Mark is a place in one region's stream.
type Mark struct {
	Stream string      `json:"s"`          // id of the stream; a stream made anew has a new id
	Seq    uint64      `json:"n"`          // sequence of the last entry applied; 0 is before the first
	Hash   object.Hash `json:"h,omitzero"` // hash of that entry, so that a rewritten log is noticed
}

// Position says how far a node has followed the log: a Mark for each region. The zero Position has seen nothing.
// It is immutable, and opaque outside this package and the logs.
type Position struct {
	marks map[string]Mark
}

// At returns the position that has region at m and no other.
func At(region string, m Mark) Position { return Position{}.With(region, m) }

// With returns p with region moved to m.
func (p Position) With(region string, m Mark) Position {
	marks := make(map[string]Mark, len(p.marks)+1)
	maps.Copy(marks, p.marks)
	marks[region] = m
	return Position{marks}
}

// Mark returns where p stands in region.
func (p Position) Mark(region string) (Mark, bool) { m, ok := p.marks[region]; return m, ok }

// IsZero reports whether p has seen nothing.
func (p Position) IsZero() bool { return len(p.marks) == 0 }

// Covers reports whether a node at p has applied everything up to q: each region of q stands in the same stream
// and no further. Positions of different streams cover one another in neither direction.
func (p Position) Covers(q Position) bool {
	for region, want := range q.marks {
		have, ok := p.marks[region]
		if !ok || have.Stream != want.Stream || have.Seq < want.Seq {
			return false
		}
	}
	return true
}

const positionPrefix = "p1."

// String returns the opaque form; "" for the zero Position.
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	type named struct {
		Region string `json:"r"`
		Mark
	}
	list := make([]named, 0, len(p.marks))
	for _, r := range slices.Sorted(maps.Keys(p.marks)) {
		list = append(list, named{r, p.marks[r]})
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic("purge: a Position always marshals: " + err.Error())
	}
	return positionPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParsePosition reads what String wrote. Errors wrap object.ErrInvalid.
func ParsePosition(s string) (Position, error) {
	if s == "" {
		return Position{}, nil
	}
	bad := fmt.Errorf("position: %w", object.ErrInvalid)
	if len(s) > 16<<10 || len(s) < len(positionPrefix) || s[:len(positionPrefix)] != positionPrefix {
		return Position{}, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(s[len(positionPrefix):])
	if err != nil {
		return Position{}, bad
	}
	var list []struct {
		Region string `json:"r"`
		Mark
	}
	if json.Unmarshal(b, &list) != nil || len(list) == 0 {
		return Position{}, bad
	}
	var p Position
	for _, n := range list {
		p = p.With(n.Region, n.Mark)
	}
	return p, nil
}

// MarshalText implements encoding.TextMarshaler.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Position) UnmarshalText(b []byte) error {
	q, err := ParsePosition(string(b))
	*p = q
	return err
}
