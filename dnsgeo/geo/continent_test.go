package geo

import (
	"strings"
	"testing"
)

func TestContinentOfEveryCountry(t *testing.T) {
	count, seen := map[string]int{}, map[string]string{}
	for _, c := range continents {
		for country := range strings.FieldsSeq(c.countries) {
			if was, ok := seen[country]; ok {
				t.Errorf("%s is on %s and on %s", country, was, c.code)
			}
			seen[country] = c.code
			count[c.code]++
			if got := Continent(country); got != c.code {
				t.Errorf("Continent(%s) = %q, want %s", country, got, c.code)
			}
		}
	}
	if len(seen) != 249+1 { // ISO 3166-1 and XK
		t.Errorf("%d countries", len(seen))
	}
	if len(count) != 7 || count["AF"] != 58 || count["AN"] != 5 || count["SA"] != 14 {
		t.Errorf("%v", count)
	}
	for country, want := range map[string]string{"": "", "de": "", "ZZ": "", "AB": "", "D": "", "DEU": "", " A": "", "E ": "", "GB": "EU", "TR": "AS", "CY": "EU", "PA": "NA", "AU": "OC"} {
		if got := Continent(country); got != want {
			t.Errorf("Continent(%q) = %q, want %q", country, got, want)
		}
	}
}

// TestContinentKnowsTheData: no country of the table in the binary is left without a continent.
func TestContinentKnowsTheData(t *testing.T) {
	for _, p := range embedded(t).Places() {
		if p.Country != "" && Continent(p.Country) == "" {
			t.Errorf("%s has no continent", p.Country)
		}
	}
}
