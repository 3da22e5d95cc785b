package steer

import "perigee/dnsgeo/geo"

// continentOf returns the continent of each country, for a policy to index at once.
func continentOf() map[string]string {
	of := make(map[string]string, 256)
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			country := string([]rune{a, b})
			if c := geo.Continent(country); c != "" {
				of[country] = c
			}
		}
	}
	return of
}
