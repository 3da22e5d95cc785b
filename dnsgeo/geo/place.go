package geo

import "math"

// Place is where an address is, as far as the data knows. The zero Place is "unknown".
type Place struct {
	Country string `json:"country,omitempty"` // ISO 3166-1 alpha-2, upper case; "" when unknown
	City    string `json:"city,omitempty"`    // English name; only data that carries names has it
	// Region is the ISO 3166-2 code of the largest subdivision without its country, such as "BY"; "" when the data has none.
	Region string `json:"region,omitempty"`
	// ASN is the number of the autonomous system that announces the address; 0 when the data has none.
	ASN uint32 `json:"asn,omitempty"`
	// Lat and Lon are degrees north and east; they mean nothing unless Known.
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
	// Known reports whether the data has coordinates for the address.
	Known bool `json:"known"`
}

// cellsPerDegree is the resolution of the compact table: cells of a quarter of a degree, at most 28 km high.
const cellsPerDegree = 4

// cell is a square of the compact table's grid.
type cell struct {
	row uint16 // from the south pole, 0 to 719
	col uint16 // from 180° west, 0 to 1439
}

const (
	cellRows = 180 * cellsPerDegree
	cellCols = 360 * cellsPerDegree
)

// cellOf returns the cell of valid coordinates; the outermost cells hold their border.
func cellOf(lat, lon float64) cell {
	row := int(math.Floor((lat + 90) * cellsPerDegree))
	col := int(math.Floor((lon + 180) * cellsPerDegree))
	return cell{uint16(min(row, cellRows-1)), uint16(min(col, cellCols-1))}
}

// centre returns the middle of the cell.
func (c cell) centre() (lat, lon float64) {
	return (float64(c.row)+0.5)/cellsPerDegree - 90, (float64(c.col)+0.5)/cellsPerDegree - 180
}

// validCoordinates reports whether lat and lon are a point on Earth that data really means. The point 0, 0 lies in
// the sea and is what careless writers put for "no position".
func validCoordinates(lat, lon float64) bool {
	return lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180 && (lat != 0 || lon != 0)
}

// validCountry returns s when it has the form of an ISO 3166-1 alpha-2 code in use, else "".
func validCountry(s string) string {
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' || s == "ZZ" {
		return ""
	}
	return s
}
