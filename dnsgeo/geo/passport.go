package geo

import "time"

// Passport says where a DB comes from, under which terms it may be shown, and how much it knows.
type Passport struct {
	Source      string    `json:"source"`      // name of the data and its version
	Licence     string    `json:"licence"`     // SPDX name or the licensor's own; "" when the file does not say
	Attribution string    `json:"attribution"` // sentence to show wherever results are shown; "" when none is asked for
	Built       time.Time `json:"built"`       // when the publisher built the data
	Networks    int       `json:"networks"`    // runs of addresses with one place and owner, IPv4 and IPv6 together
	Places      int       `json:"places"`      // distinct known places
	ASNs        int       `json:"asns"`        // distinct autonomous systems; 0 when the data names none
	Coverage    Coverage  `json:"coverage"`    // how much of the address space has a known place
	Embedded    bool      `json:"embedded"`    // it is the table in the binary
	Files       []File    `json:"files"`       // what it was read from
}

// File is one file that a DB was read from.
type File struct {
	Name   string    `json:"name"` // without its directory
	Type   string    `json:"type"` // as the file calls itself, such as "GeoLite2-City"
	Bytes  int64     `json:"bytes"`
	SHA256 string    `json:"sha256"`         // in hexadecimal digits
	Built  time.Time `json:"built,omitzero"` // when the publisher built it; zero for tables, whose Passport has it
}

// Coverage is the share of unicast addresses whose place is known, from 0 to 1.
type Coverage struct {
	// IPv4 is the share of the addresses that can be met on the Internet: without the private, special and multicast ones.
	IPv4 float64 `json:"ipv4"`
	// IPv6 is the share of 2000::/3, of which the registries have given away a small part only: it is to be compared with the coverage of other data.
	IPv6 float64 `json:"ipv6"`
}

// tablePassport is what a compact table carries; the rest of a Passport follows from the table itself. Its form is part of the format.
type tablePassport struct {
	Source      string    `json:"source"`
	Licence     string    `json:"licence"`
	Attribution string    `json:"attribution"`
	Built       time.Time `json:"built"`
	Networks    int       `json:"networks"`
	Places      int       `json:"places"`
}

func newTablePassport(p Passport) tablePassport {
	return tablePassport{p.Source, p.Licence, p.Attribution, p.Built, p.Networks, p.Places}
}
