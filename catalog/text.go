package catalog

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"perigee/object"
)

// PostgreSQL stores no text that is not valid UTF-8 or holds a NUL byte. What comes from outside is checked where it comes in;
// should something slip through, it is refused here, with an error that says why and leaves the connection whole.

// checkTexts makes a new connection refuse such texts before they are sent.
func checkTexts(_ context.Context, c *pgx.Conn) error {
	c.TypeMap().RegisterType(&pgtype.Type{Name: "text", OID: pgtype.TextOID, Codec: checkedText{}})
	return nil
}

// checkedText is the codec of texts, with a check.
type checkedText struct{ pgtype.TextCodec }

// PlanEncode implements pgtype.Codec.
func (checkedText) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	plan := pgtype.TextCodec{}.PlanEncode(m, oid, format, value)
	if plan == nil {
		return nil
	}
	return checkedPlan{plan}
}

type checkedPlan struct{ pgtype.EncodePlan }

// Encode implements pgtype.EncodePlan.
func (p checkedPlan) Encode(value any, buf []byte) ([]byte, error) {
	out, err := p.EncodePlan.Encode(value, buf)
	if err != nil || out == nil {
		return out, err
	}
	return out, validText(out[len(buf):])
}

func validText(text []byte) error {
	if bytes.IndexByte(text, 0) >= 0 {
		return fmt.Errorf("a text with a NUL byte: %w: the catalogue cannot hold it", object.ErrInvalid)
	}
	if !utf8.Valid(text) {
		return fmt.Errorf("a text that is not UTF-8: %w: the catalogue cannot hold it", object.ErrInvalid)
	}
	return nil
}
