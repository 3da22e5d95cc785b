package geo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Open reads one DB from files: either one table that Build wrote, or one or more MaxMind-format files (.mmdb) that
// complete each other, as when a publisher ships IPv4 and IPv6 apart, or owners of networks apart from places. GeoIP2,
// GeoLite2 and DB-IP files with the GeoIP2 schema (City, Country, Enterprise, ASN, ISP) and files with the flat schema of
// ip-location-db (country_code, state1, city, latitude, longitude; autonomous_system_number) are understood; where a
// record has a country and no coordinates, the country's most used place in the embedded table stands for it.
//
// The numbers of ASN and ISP files are joined into Place.ASN, which makes a Place of every pair of place and owner; more
// than 4,194,304 of them are refused.
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
			db.passport.Files = []File{newFile(paths[0], "compact table", data)}
			return db, nil
		}
	}
	s := sources{places: newCompiler(32, 64), owners: newCompiler(32, 64)}
	var countries capitals
	p, err := s.compile(paths, countries.place)
	if err = errors.Join(err, countries.err); err != nil {
		return nil, fmt.Errorf("open geo data: %w", err)
	}
	places, runs, err := s.finish(&p)
	if err != nil {
		return nil, fmt.Errorf("open geo data %s: %w", strings.Join(paths, ", "), err)
	}
	return newDB(places, runs, p), nil
}

// maxFile limits the files that are read: the largest city databases on sale have some hundred megabytes.
const maxFile = 1 << 30

// maxPaths limits how many files make one DB: places and owners, IPv4 and IPv6 of each apart, and some to spare.
const maxPaths = 8

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

// newFile describes a file for the passport.
func newFile(path, kind string, data []byte) File {
	sum := sha256.Sum256(data)
	return File{Name: filepath.Base(path), Type: kind, Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// sources is what a set of files is compiled into.
type sources struct {
	places *compiler
	owners *compiler // nil where owners are of no use
}

// compile adds every network of the files; shape turns a place as the file has it into the one to keep.
func (s *sources) compile(paths []string, shape func(Place) Place) (Passport, error) {
	if len(paths) > maxPaths {
		return Passport{}, fmt.Errorf("%d files were named; at most %d make one database", len(paths), maxPaths)
	}
	var p Passport
	var names, attributions, licences []string
	located := false
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return Passport{}, err
		}
		m, owners, err := s.compileFile(data, shape)
		if err != nil {
			return Passport{}, fmt.Errorf("%s: %w", path, err)
		}
		located = located || !owners
		f := newFile(path, m.DatabaseType, data)
		f.Built = m.BuildTime().UTC()
		p.Files = append(p.Files, f)
		names = append(names, fmt.Sprintf("%s (%s)", f.Name, f.Type))
		// Owners hardly move; what the age of the whole means is how old its places are.
		if !owners && f.Built.After(p.Built) {
			p.Built = f.Built
		}
		licence, attribution := terms(m.DatabaseType)
		licences, attributions = appendNew(licences, licence), appendNew(attributions, attribution)
	}
	if !located {
		return Passport{}, fmt.Errorf("%s: an ASN or ISP database alone does not say where addresses are; add a City or Country database", strings.Join(paths, ", "))
	}
	p.Source, p.Licence, p.Attribution = strings.Join(names, ", "), strings.Join(licences, ", "), strings.Join(attributions, "; ")
	return p, nil
}

// appendNew appends s unless it is empty or there.
func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// finish joins owners to places, and notes in p how many places there were without them. The sources must not be used afterwards.
func (s *sources) finish(p *Passport) ([]Place, *Runs, error) {
	places, runs, err := s.places.finish()
	if err != nil {
		return nil, nil, err
	}
	p.Places = countKnown(places)
	if s.owners == nil || s.owners.empty() {
		return places, runs, nil
	}
	owners, networks, err := s.owners.finish()
	if err != nil {
		return nil, nil, err
	}
	return join(places, runs, owners, networks, maxJoined)
}

// compileFile adds every network of one file, and reports whether the file tells owners.
func (s *sources) compileFile(data []byte, shape func(Place) Place) (m maxminddb.Metadata, owners bool, err error) {
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return m, false, err
	}
	how, err := schemaOf(data, r)
	if err != nil {
		return m, false, err
	}
	c := s.places
	if how.owners {
		if c = s.owners; c == nil {
			return m, true, fmt.Errorf("a database of type %q does not say where addresses are; use a City or Country database", r.Metadata.DatabaseType)
		}
		shape = func(p Place) Place { return p }
	}
	return r.Metadata, how.owners, c.addAll(r, how.read, shape)
}

var allIPv4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// addAll adds every network that r knows.
func (c *compiler) addAll(r *maxminddb.Reader, decode record, shape func(Place) Place) error {
	numbers := make(map[uintptr]uint32) // by offset: records are shared, each is decoded once
	most := mostLeaves(r)
	for res := range r.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if err := res.Err(); err != nil {
			return err
		}
		if most == 0 {
			return errors.New("the file is damaged: its tree has far more leaves than nodes")
		}
		most--
		if !res.Found() {
			continue
		}
		n, ok := numbers[res.Offset()]
		if !ok {
			p, err := decode(res)
			if err != nil {
				return fmt.Errorf("network %s: %w", res.Prefix(), err)
			}
			n = c.numberOf(shape(p))
			numbers[res.Offset()] = n
		}
		network := res.Prefix()
		if network.Addr() == netip.IPv6Unspecified() && network.Bits() < 96 {
			// IPv4 is ::/96 of the tree, and a leaf above it stands for all of it.
			if err := c.add(allIPv4, n); err != nil {
				return err
			}
		}
		if err := c.add(network, n); err != nil {
			return err
		}
	}
	return nil
}

// mostLeaves is how many leaves of a file's tree are looked at. A tree of n nodes has n+1, fewer where branches are shared. A damaged one can lead into
// itself and have 2^128: no walk must try to see them all, the empty ones among them.
func mostLeaves(r *maxminddb.Reader) uint64 { return 4*uint64(r.Metadata.NodeCount) + 1024 }

// Verify checks a file more thoroughly than Open does, before it is put into use: of an .mmdb every record and every
// node of the tree (maxminddb's Verify), of a table its checksum and contents.
func Verify(path string) error {
	data, err := readFile(path)
	if err != nil {
		return fmt.Errorf("verify geo data: %w", err)
	}
	if isTable(data) {
		_, err = decodeTable(data)
	} else {
		err = verifyMMDB(data)
	}
	if err != nil {
		return fmt.Errorf("verify geo data %s: %w", path, err)
	}
	return nil
}

func verifyMMDB(data []byte) error {
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return err
	}
	if len(r.Metadata.Description) == 0 {
		// The files of ip-location-db have none. It is prose and its lack no damage, but the verifier would look no further.
		r.Metadata.Description = map[string]string{"en": r.Metadata.DatabaseType}
	}
	return r.Verify()
}
