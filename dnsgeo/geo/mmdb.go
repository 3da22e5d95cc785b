package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// Open reads one DB from files: either one table that Build wrote, or one or more MaxMind-format files (.mmdb) that
// complete each other, as when a publisher ships IPv4 and IPv6 apart. GeoIP2, GeoLite2 and DB-IP files with the
// GeoIP2 schema and files with the flat schema of ip-location-db (country_code, city, latitude, longitude) are
// understood; where a record has a country and no coordinates, the country's most used place in the embedded table
// stands for it.
//
// A file that is missing gives fs.ErrNotExist. The files are closed before Open returns and may then be replaced.
func Open(paths ...string) (*DB, error) {
	if len(paths) == 0 {
		return nil, errors.New("open geo data: no file was named")
	}
	if len(paths) == 1 {
		data, err := readFile(paths[0])
		if err != nil {
			return nil, fmt.Errorf("open geo data: %w", err)
		}
		if isTable(data) {
			db, err := decodeTable(data)
			if err != nil {
				return nil, fmt.Errorf("open geo data %s: %w", paths[0], err)
			}
			return db, nil
		}
	}
	c := newCompiler(32, 64)
	var countries capitals
	p, err := compileFiles(c, paths, countries.place)
	if err = errors.Join(err, countries.err); err != nil {
		return nil, fmt.Errorf("open geo data: %w", err)
	}
	places, runs, err := c.finish()
	if err != nil {
		return nil, fmt.Errorf("open geo data %s: %w", strings.Join(paths, ", "), err)
	}
	return newDB(places, runs, p), nil
}

// maxFile limits the files that are read: the largest city databases on sale have some hundred megabytes.
const maxFile = 1 << 30

// readFile reads a whole file. Mapping it into memory would be cheaper, but whoever truncates a mapped file, as a
// careless copy over it does, kills the process that reads it.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// compileFiles adds every network of the files to c; shape turns a place as the file has it into the one to keep.
func compileFiles(c *compiler, paths []string, shape func(Place) Place) (Passport, error) {
	var p Passport
	var names []string
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return Passport{}, err
		}
		m, err := compileFile(c, data, shape)
		if err != nil {
			return Passport{}, fmt.Errorf("%s: %w", path, err)
		}
		names = append(names, fmt.Sprintf("%s (%s)", filepath.Base(path), m.DatabaseType))
		if t := m.BuildTime(); t.After(p.Built) {
			p.Built = t
		}
		if p.Licence == "" {
			p.Licence, p.Attribution = terms(m.DatabaseType)
		}
	}
	p.Source = strings.Join(names, ", ")
	return p, nil
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

// record decodes one data record into the Place it stands for.
type record func(maxminddb.Result) (Place, error)

// schema decides how the records of a file are to be read.
func schema(data []byte) (record, error) {
	r, err := geoip2.OpenBytes(data)
	if unknown := (geoip2.UnknownDatabaseTypeError{}); errors.As(err, &unknown) {
		return eitherRecord, nil
	} else if err != nil {
		return nil, err
	}
	// A type that geoip2 knows may still hold no places: networks' owners, connection types, domains.
	_, err = r.City(netip.IPv4Unspecified())
	if wrong := (geoip2.InvalidMethodError{}); errors.As(err, &wrong) {
		return nil, fmt.Errorf("a database of type %q does not say where addresses are; use a City or Country database", wrong.DatabaseType)
	}
	return geoip2Record, nil
}

// geoip2Record reads the GeoIP2 schema.
func geoip2Record(r maxminddb.Result) (Place, error) {
	var c geoip2.City
	if err := r.Decode(&c); err != nil {
		return Place{}, err
	}
	return newPlace(c.Country.ISOCode, c.City.Names.English, c.Location.Latitude, c.Location.Longitude), nil
}

// eitherRecord reads the flat schema of ip-location-db and, for files of a type that geoip2 has not heard of, the
// nested one of GeoIP2.
func eitherRecord(r maxminddb.Result) (Place, error) {
	var flat struct {
		Country string   `maxminddb:"country_code"`
		Lat     *float64 `maxminddb:"latitude"`
		Lon     *float64 `maxminddb:"longitude"`
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
	return newPlace(flat.Country, city, flat.Lat, flat.Lon), nil
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

// compileFile adds every network of one file to c.
func compileFile(c *compiler, data []byte, shape func(Place) Place) (maxminddb.Metadata, error) {
	decode, err := schema(data)
	if err != nil {
		return maxminddb.Metadata{}, err
	}
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return maxminddb.Metadata{}, err
	}
	numbers := make(map[uintptr]uint32) // by offset: records are shared, each is decoded once
	// A tree of n nodes has n+1 leaves, fewer where branches are shared. A damaged one can lead into itself and have
	// 2^128: the walk must not try to see them all.
	most := 4*uint64(r.Metadata.NodeCount) + 1024
	for res := range r.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if err := res.Err(); err != nil {
			return maxminddb.Metadata{}, err
		}
		if most == 0 {
			return maxminddb.Metadata{}, errors.New("the file is damaged: its tree has far more leaves than nodes")
		}
		most--
		if !res.Found() {
			continue
		}
		n, ok := numbers[res.Offset()]
		if !ok {
			p, err := decode(res)
			if err != nil {
				return maxminddb.Metadata{}, fmt.Errorf("network %s: %w", res.Prefix(), err)
			}
			n = c.numberOf(shape(p))
			numbers[res.Offset()] = n
		}
		if err := c.add(res.Prefix(), n); err != nil {
			return maxminddb.Metadata{}, err
		}
	}
	return r.Metadata, nil
}
