package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// record decodes one data record into the Place it stands for.
type record func(maxminddb.Result) (Place, error)

// schema says how the records of a file are to be read.
type schema struct {
	read record
	// owners: the file tells the networks' owners and not where they are. Its Places have an ASN and nothing else.
	owners bool
}

// schemaOf decides how the records of a file are to be read. The types that geoip2 knows say what is inside; of others the records are looked at.
func schemaOf(data []byte, m *maxminddb.Reader) (schema, error) {
	var regions regions
	r, err := geoip2.OpenBytes(data)
	if unknown := (geoip2.UnknownDatabaseTypeError{}); errors.As(err, &unknown) {
		return sniff(m, &regions), nil
	} else if err != nil {
		return schema{}, err
	}
	probe := netip.IPv4Unspecified()
	var wrong geoip2.InvalidMethodError
	if _, err = r.Enterprise(probe); !errors.As(err, &wrong) {
		return schema{read: enterpriseRecord}, nil
	}
	if _, err = r.City(probe); !errors.As(err, &wrong) {
		return schema{read: geoip2Record}, nil
	}
	if _, err = r.ASN(probe); !errors.As(err, &wrong) {
		return schema{read: ownerRecord, owners: true}, nil
	}
	return schema{}, fmt.Errorf("a database of type %q says neither where addresses are nor whose; use a City, Country, Enterprise, ASN or ISP database", wrong.DatabaseType)
}

// sniffed is how many records are looked at to find out what a file of an unknown type holds.
const sniffed = 256

// sniff looks at the first records: a file is one of owners when some have the number of an autonomous system and none has a country or a position.
func sniff(m *maxminddb.Reader, names *regions) schema {
	places := schema{read: func(r maxminddb.Result) (Place, error) { return eitherRecord(r, names) }}
	left, owners := sniffed, false
	leaves := mostLeaves(m)
	for res := range m.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if leaves--; leaves == 0 || left == 0 || res.Err() != nil {
			break
		}
		if !res.Found() {
			continue
		}
		left--
		if p, err := places.read(res); err == nil && (p.Country != "" || p.Known) {
			return places
		}
		if p, err := ownerRecord(res); err == nil && p.ASN != 0 {
			owners = true
		}
	}
	if owners {
		return schema{read: ownerRecord, owners: true}
	}
	return places
}

// ownerRecord reads the schema of ASN and ISP databases, MaxMind's, DB-IP's and ip-location-db's alike.
func ownerRecord(r maxminddb.Result) (Place, error) {
	var o struct {
		ASN uint32 `maxminddb:"autonomous_system_number"`
	}
	if err := r.Decode(&o); err != nil {
		return Place{}, err
	}
	return Place{ASN: o.ASN}, nil
}

// geoip2Record reads the GeoIP2 schema.
func geoip2Record(r maxminddb.Result) (Place, error) {
	var c geoip2.City
	if err := r.Decode(&c); err != nil {
		return Place{}, err
	}
	p := newPlace(c.Country.ISOCode, c.City.Names.English, c.Location.Latitude, c.Location.Longitude)
	if len(c.Subdivisions) > 0 && p.Country != "" {
		p.Region = validRegion(c.Subdivisions[0].ISOCode)
	}
	return p, nil
}

// enterpriseRecord reads the GeoIP2 schema with the owner among the traits, as Enterprise databases have it.
func enterpriseRecord(r maxminddb.Result) (Place, error) {
	p, err := geoip2Record(r)
	if err != nil {
		return Place{}, err
	}
	var o struct {
		Traits struct {
			ASN uint32 `maxminddb:"autonomous_system_number"`
		} `maxminddb:"traits"`
	}
	if err := r.Decode(&o); err != nil {
		return Place{}, err
	}
	p.ASN = o.Traits.ASN
	return p, nil
}

// eitherRecord reads the flat schema of ip-location-db and, for files of a type that geoip2 has not heard of, the
// nested one of GeoIP2.
func eitherRecord(r maxminddb.Result, names *regions) (Place, error) {
	var flat struct {
		Country string   `maxminddb:"country_code"`
		Lat     *float64 `maxminddb:"latitude"`
		Lon     *float64 `maxminddb:"longitude"`
		State   string   `maxminddb:"state1"`
	}
	if err := r.Decode(&flat); err != nil {
		return Place{}, err
	}
	if flat.Country == "" && flat.Lat == nil {
		return nestedRecord(r)
	}
	// "city" is a string here and a map in the nested schema: it can only be read once the schema is known.
	var city string
	if err := r.DecodePath(&city, "city"); err != nil {
		return Place{}, err
	}
	p := newPlace(flat.Country, city, flat.Lat, flat.Lon)
	p.Region = names.find(p.Country, flat.State)
	return p, nil
}

// nestedRecord reads a record of the nested schema, or one that holds no place in any schema.
func nestedRecord(r maxminddb.Result) (Place, error) {
	var n struct {
		Country struct {
			Code string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
		Location struct {
			Lat *float64 `maxminddb:"latitude"`
		} `maxminddb:"location"`
	}
	if err := r.Decode(&n); err != nil {
		return Place{}, err
	}
	if n.Country.Code == "" && n.Location.Lat == nil {
		return Place{}, nil
	}
	return geoip2Record(r)
}

func newPlace(country, city string, lat, lon *float64) Place {
	p := Place{Country: validCountry(country), City: city}
	if lat != nil && lon != nil && validCoordinates(*lat, *lon) {
		p.Lat, p.Lon, p.Known = *lat, *lon, true
	}
	return p
}

// terms returns licence and attribution of the free data sets that say what they are in their type.
func terms(databaseType string) (licence, attribution string) {
	switch {
	case strings.HasPrefix(databaseType, "GeoLite2-"):
		return "GeoLite2 End User License Agreement",
			"This product includes GeoLite2 Data created by MaxMind, available from https://www.maxmind.com"
	case strings.HasPrefix(databaseType, "DBIP-") && strings.Contains(databaseType, "-Lite"):
		return "CC-BY-4.0", "IP Geolocation by DB-IP (https://db-ip.com)"
	}
	return "", ""
}
