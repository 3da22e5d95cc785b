package object

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Active says which active types (see ActiveType) browsers may treat as such on a site. In JSON it is true for all of them, false for none, or a
// list of media types.
type Active struct {
	All   bool
	Types []string // without parameters, in lower case
}

// maxActive is how many types a site may list.
const maxActive = 32

// IsZero reports whether a allows nothing.
func (a Active) IsZero() bool { return !a.All && len(a.Types) == 0 }

// Allows reports whether a allows a media type, written without parameters and in lower case; "" stands for one that nobody can read.
func (a Active) Allows(mediaType string) bool {
	return a.All || mediaType != "" && slices.Contains(a.Types, mediaType)
}

// MarshalJSON implements json.Marshaler.
func (a Active) MarshalJSON() ([]byte, error) {
	if a.All || len(a.Types) == 0 {
		return json.Marshal(a.All)
	}
	return json.Marshal(a.Types)
}

// UnmarshalJSON implements json.Unmarshaler. Errors wrap ErrInvalid.
func (a *Active) UnmarshalJSON(b []byte) error {
	*a = Active{}
	if json.Unmarshal(b, &a.All) == nil {
		return nil
	}
	if json.Unmarshal(b, &a.Types) != nil {
		return fmt.Errorf("allow_active: %w: write true, false, or a list of media types such as [\"application/pdf\"]", ErrInvalid)
	}
	return a.validate()
}

func (a Active) validate() error {
	if len(a.Types) > maxActive {
		return fmt.Errorf("allow_active: %w: %d types, the limit is %d", ErrInvalid, len(a.Types), maxActive)
	}
	for _, t := range a.Types {
		kind, sub, ok := strings.Cut(t, "/")
		if !ok || !isTypeToken(kind) || !isTypeToken(sub) {
			return fmt.Errorf("allow_active %q: %w: write a media type in lower case and without parameters, such as image/svg+xml", clip(t), ErrInvalid)
		}
	}
	return nil
}

// isTypeToken reports whether s is a restricted-name of RFC 6838 §4.2, in lower case.
func isTypeToken(s string) bool {
	if len(s) == 0 || len(s) > 127 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (i == 0 || strings.IndexByte("!#$&-^_.+", c) < 0) {
			return false
		}
	}
	return true
}

// ActiveType reports whether a browser may run script in a document of a media type, written without parameters and in lower case, or in a worker that
// is made of it: HTML, XML of any kind (which may have a style sheet that makes HTML of it), SVG, PDF, JavaScript, and messages with parts.
func ActiveType(mediaType string) bool {
	kind, sub, _ := strings.Cut(mediaType, "/")
	return strings.HasSuffix(sub, "html") || strings.HasSuffix(sub, "xml") || strings.HasSuffix(sub, "javascript") || strings.HasSuffix(sub, "ecmascript") ||
		kind == "multipart" || kind == "message" || mediaType == "text/xsl" || mediaType == "application/pdf"
}
