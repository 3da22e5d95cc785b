package geo

// capitals places whole countries: the cell of a country that holds most of its IPv4 addresses, from the embedded
// table. It reads the table when it is first asked.
type capitals struct {
	byCountry map[string]Place
	err       error // why the table could not be read
}

// place returns p as it is when it has coordinates or no country, else p with the coordinates of its country.
func (c *capitals) place(p Place) Place {
	if p.Known || p.Country == "" || c.err != nil {
		return p
	}
	if c.byCountry == nil {
		db, err := Embedded()
		if err != nil {
			c.err = err
			return p
		}
		c.byCountry = mostUsed(db)
	}
	if at, ok := c.byCountry[p.Country]; ok {
		p.Lat, p.Lon, p.Known = at.Lat, at.Lon, true
	}
	return p
}

// mostUsed returns the place with most IPv4 addresses of each country in db.
func mostUsed(db *DB) map[string]Place {
	size := make([]uint64, len(db.places))
	var start uint64
	var number uint32
	for first, n := range db.runs.v4.each {
		size[number] += first - start
		start, number = first, n
	}
	size[number] += 1<<32 - start
	best := make(map[string]Place)
	most := make(map[string]uint64)
	for n, p := range db.places {
		if p.Known && size[n] > most[p.Country] {
			best[p.Country], most[p.Country] = p, size[n]
		}
	}
	return best
}
