package geo

import (
	_ "embed" // carries the table
	"fmt"
)

// table is what Build made of the sources that table.provenance.md names.
//
//go:embed table.bin
var table []byte

// Embedded decodes the table that is compiled into the binary: country and quarter-degree cell for each IPv4 /24 and
// each IPv6 /48. Every call makes a new DB of some 40 MB; callers share one.
func Embedded() (*DB, error) {
	db, err := decodeTable(table)
	if err != nil {
		return nil, fmt.Errorf("read the embedded geo table: %w", err)
	}
	db.passport.Embedded = true
	db.passport.Files = []File{newFile("table.bin", "compact table", table)}
	return db, nil
}
