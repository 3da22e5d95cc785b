package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"perigee/object"
)

// PostgreSQL stores no text that is not valid UTF-8 or holds a NUL byte. What comes from outside is checked where it comes in;
// should something slip through, it is refused before it is sent, with an error that says why.

// connector opens connections of PostgreSQL that check the texts they are given.
type connector struct{ driver.Connector }

func newConnector(c *pgx.ConnConfig) driver.Connector { return connector{stdlib.GetConnector(*c)} }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return checkedConn{conn.(*stdlib.Conn)}, nil
}

// checkedConn is such a connection.
type checkedConn struct{ *stdlib.Conn }

// CheckNamedValue implements driver.NamedValueChecker: every argument of every statement comes by here.
func (c checkedConn) CheckNamedValue(v *driver.NamedValue) error {
	if s := reflect.ValueOf(v.Value); s.Kind() == reflect.String {
		if err := validText(s.String()); err != nil {
			return err
		}
	}
	return c.Conn.CheckNamedValue(v)
}

func validText(text string) error {
	if strings.IndexByte(text, 0) >= 0 {
		return fmt.Errorf("a text with a NUL byte: %w: the catalogue cannot hold it", object.ErrInvalid)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("a text that is not UTF-8: %w: the catalogue cannot hold it", object.ErrInvalid)
	}
	return nil
}
