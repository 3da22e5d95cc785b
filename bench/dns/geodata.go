package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"perigee/dnsgeo/geo"
)

// world is where addresses are, for every server the same.
type world struct {
	db       *geo.DB
	file     string               // db as a GeoIP2 City database
	networks int                  // in the file
	home     map[string]geo.Place // by country, the place that has most of its IPv4 addresses
}

// newWorld writes the table that Perigee carries to file, in the form of GeoLite2-City, which all servers read.
func newWorld(file string) (*world, error) {
	db, err := geo.Embedded()
	if err != nil {
		return nil, err
	}
	w := &world{db: db, file: file, home: map[string]geo.Place{}}
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", Description: map[string]string{"en": "for measuring"}, KeyGenerator: identity{}})
	if err != nil {
		return nil, err
	}
	addresses, records := map[geo.Place]int{}, map[geo.Place]mmdbtype.Map{}
	for network, place := range networks(db) {
		if place == (geo.Place{}) {
			continue
		}
		record := records[place]
		if record == nil {
			record = cityRecord(place)
			records[place] = record
		}
		err := tree.Insert(&net.IPNet{IP: network.Addr().AsSlice(), Mask: net.CIDRMask(network.Bits(), network.Addr().BitLen())}, record)
		if errors.As(err, new(*mmdbwriter.ReservedNetworkError)) || errors.As(err, new(*mmdbwriter.AliasedNetworkError)) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", network, err)
		}
		w.networks++
		if network.Addr().Is4() {
			addresses[place] += 1 << (32 - network.Bits())
		}
	}
	w.homes(addresses)
	return w, w.write(tree)
}

func (w *world) write(tree *mmdbwriter.Tree) error {
	f, err := os.Create(w.file)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	_, err = tree.WriteTo(b)
	return errors.Join(err, b.Flush(), f.Close())
}

// homes finds the home of each country; of equal ones the most southern, then the most western.
func (w *world) homes(addresses map[geo.Place]int) {
	most := map[string]int{}
	places := slices.SortedFunc(maps.Keys(addresses), func(a, b geo.Place) int {
		return slices.Compare([]float64{a.Lat, a.Lon}, []float64{b.Lat, b.Lon})
	})
	for _, p := range places {
		if n := addresses[p]; p.Country != "" && n > most[p.Country] {
			most[p.Country], w.home[p.Country] = n, p
		}
	}
}

// networks goes through the public address space: each network in which every address has the same place.
func networks(db *geo.DB) func(yield func(netip.Prefix, geo.Place) bool) {
	return func(yield func(netip.Prefix, geo.Place) bool) {
		for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("2000::")} {
			for a.IsValid() {
				place, network := db.Lookup(a)
				if !yield(network, place) {
					return
				}
				a = after(network)
			}
		}
	}
}

// after returns the address that follows a network; the zero Addr when there is none.
func after(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits() - 1; i >= 0; i-- {
		if bit := byte(0x80) >> (i % 8); b[i/8]&bit == 0 {
			b[i/8] |= bit
			a, _ := netip.AddrFromSlice(b)
			return a
		} else {
			b[i/8] &^= bit
		}
	}
	return netip.Addr{}
}

// cityRecord is a place as GeoIP2 City has it, what maps by continent, country and coordinates need.
func cityRecord(p geo.Place) mmdbtype.Map {
	m := mmdbtype.Map{}
	if p.Country != "" {
		m["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(p.Country)}
	}
	if c := continentOf(p.Country); c != "" {
		m["continent"] = mmdbtype.Map{"code": mmdbtype.String(c)}
	}
	if p.Known {
		m["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(p.Lat), "longitude": mmdbtype.Float64(p.Lon)}
	}
	return m
}

// identity tells records apart by being one Go map or another, for there is one for each place; the usual way, a SHA-256 of each, takes most of the time.
type identity struct{}

// Key implements mmdbwriter.KeyGenerator.
func (identity) Key(v mmdbtype.DataType) ([]byte, error) {
	m, ok := v.(mmdbtype.Map)
	if !ok {
		return nil, fmt.Errorf("%T is no record of a place", v)
	}
	return binary.NativeEndian.AppendUint64(nil, uint64(reflect.ValueOf(m).Pointer())), nil
}
