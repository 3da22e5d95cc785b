package steer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"perigee/dnsgeo/geo"
)

// addOverrides numbers the overrides and indexes them by what they match.
func (p *Policy) addOverrides(r Rules) error {
	var errs []error
	var prefixes []netip.Prefix
	var of []uint32 // the override of each prefix, after that of none
	lists := make(map[string]int32)
	countries := continentOf()
	known := make(map[string]bool)
	for _, c := range countries {
		known[c] = true
	}
	continents := make(map[string]int32)
	of = append(of, 0)
	for i, o := range r.Overrides {
		kind, name, err := o.match(countries, known)
		if err != nil {
			errs = append(errs, fmt.Errorf("override %d: %w", i+1, err))
			continue
		}
		l, err := p.listOf(r, o, lists)
		if err != nil {
			errs = append(errs, fmt.Errorf("override of %s: %w", name, err))
			continue
		}
		n := int32(len(p.overrides))
		p.overrides = append(p.overrides, override{name, l})
		taken := false
		switch kind {
		case "subnet": // geo.Subnets looks for doubles
			prefixes, of = append(prefixes, o.Subnet), append(of, uint32(n))
		case "ASN":
			taken = claim(p.asn, o.ASN, n)
		case "region":
			taken = claim(p.region, o.Region, n)
		case "country":
			taken = claim(p.country, o.Country, n)
		case "continent":
			taken = claim(continents, o.Continent, n)
		}
		if taken {
			errs = append(errs, fmt.Errorf("override of %s: there are two; join them", name))
		}
	}
	for country, c := range countries {
		if n, ok := continents[c]; ok {
			p.continent[country] = n
		}
	}
	if len(prefixes) > 0 {
		runs, err := geo.Subnets(prefixes)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("overrides: %w", err))...)
		}
		p.subnets = runs.Group(of)
	}
	return errors.Join(errs...)
}

func claim[K comparable](m map[K]int32, key K, n int32) (taken bool) {
	_, taken = m[key]
	m[key] = n
	return taken
}

// match returns which kind of override o is and what it is called.
func (o *Override) match(countries map[string]string, continents map[string]bool) (kind, name string, err error) {
	n := 0
	set := func(is bool, k, value string) {
		if is {
			n, kind, name = n+1, k, k+" "+value
		}
	}
	set(o.Subnet != netip.Prefix{}, "subnet", o.Subnet.String())
	set(o.ASN != 0, "ASN", fmt.Sprint(o.ASN))
	set(o.Region != "", "region", o.Region)
	set(o.Country != "", "country", o.Country)
	set(o.Continent != "", "continent", o.Continent)
	if n != 1 {
		return "", "", fmt.Errorf("it sets %d of subnet, asn, region, country and continent; it must set exactly one", n)
	}
	country, sub, _ := strings.Cut(o.Region, "-")
	switch {
	case kind == "continent" && !continents[o.Continent]:
		err = fmt.Errorf("continent %q is none of AF, AN, AS, EU, NA, OC, SA", o.Continent)
	case kind == "country" && countries[o.Country] == "":
		err = fmt.Errorf("country %q is no ISO 3166-1 alpha-2 code, such as DE", o.Country)
	case kind == "region" && (countries[country] == "" || len(sub) < 1 || len(sub) > 3 || strings.ToUpper(sub) != sub):
		err = fmt.Errorf("region %q is no ISO 3166-2 code, such as DE-BY", o.Region)
	}
	return kind, name, err
}

// listOf returns the number of o's list of edges; equal lists share one.
func (p *Policy) listOf(r Rules, o Override, numbers map[string]int32) (int32, error) {
	if len(o.Edges) == 0 {
		return 0, errors.New("it names no edges")
	}
	l := list{only: o.Only}
	seen := make(map[string]bool)
	for _, item := range o.Edges {
		class := []string{item}
		if group, ok := strings.CutPrefix(item, "@"); ok {
			if class, ok = r.Groups[group]; !ok {
				return 0, fmt.Errorf("there is no group %q", group)
			}
		}
		for _, e := range class {
			if e == "" {
				return 0, errors.New("it names an edge \"\"")
			}
			if seen[e] {
				return 0, fmt.Errorf("it names edge %s twice", e)
			}
			seen[e] = true
		}
		l.classes = append(l.classes, class)
	}
	if len(seen) > MaxListed {
		return 0, fmt.Errorf("it names %d edges; it can name %d", len(seen), MaxListed)
	}
	key := fmt.Sprintf("%v %q", l.only, l.classes)
	n, ok := numbers[key]
	if !ok {
		if len(p.lists) > MaxLists {
			return 0, fmt.Errorf("there are more than %d different lists of edges", MaxLists)
		}
		n = int32(len(p.lists))
		numbers[key], p.lists = n, append(p.lists, l)
	}
	return n, nil
}

// of returns the number of the override for a client at c, 0 when there is none; subnet is that of the client's address.
func (p *Policy) of(c geo.Place, subnet int32) int32 {
	if subnet != 0 {
		return subnet
	}
	if n, ok := p.asn[c.ASN]; ok && c.ASN != 0 {
		return n
	}
	if len(p.region) > 0 && c.Region != "" {
		if n, ok := p.region[c.Country+"-"+c.Region]; ok {
			return n
		}
	}
	if n, ok := p.country[c.Country]; ok {
		return n
	}
	return p.continent[c.Country]
}
