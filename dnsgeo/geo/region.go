package geo

import (
	_ "embed" // carries the names of regions
	"strings"
)

// regionNames has a line for each country: its code, a space, and "CODE=name" for each subdivision, separated by ';'. Names are as fold writes them;
// names that stand for two subdivisions of a country are left out. regions.provenance.md says where it comes from.
//
//go:embed regions.txt
var regionNames string

// regions turns names of subdivisions into ISO 3166-2 codes without their country. It reads the table when it is first asked.
type regions struct {
	code map[string]string // by country, space, folded name
}

// decorations are what publishers put before or behind a name that the table has without.
var decorations = [...]struct{ before, behind string }{
	{"", " region"}, {"", " governorate"}, {"", " district"}, {"", " province"}, {"", " city"}, {"", " state"}, {"", " county"}, {"", " oblast"},
	{"", " prefecture"}, {"", " department"}, {"state of ", ""}, {"province of ", ""},
}

// find returns the code of a subdivision of a country; "" when the name is not known or stands for several.
func (r *regions) find(country, name string) string {
	if country == "" || name == "" || len(name) > maxRegionName {
		return ""
	}
	if r.code == nil {
		r.load()
	}
	folded := fold(name)
	if code, ok := r.code[country+" "+folded]; ok {
		return code
	}
	for _, d := range decorations {
		if bare, ok := strings.CutPrefix(folded, d.before); ok {
			if bare, ok = strings.CutSuffix(bare, d.behind); ok {
				if code, ok := r.code[country+" "+bare]; ok {
					return code
				}
			}
		}
	}
	return ""
}

// maxRegionName is the length in bytes beyond which no name is looked up.
const maxRegionName = 128

func (r *regions) load() {
	r.code = make(map[string]string, 6000)
	for line := range strings.Lines(regionNames) {
		country, list, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		for entry := range strings.SplitSeq(list, ";") {
			code, name, _ := strings.Cut(entry, "=")
			r.code[country+" "+name] = code
		}
	}
}

// validRegion returns s when it has the form of the second part of an ISO 3166-2 code, else "".
func validRegion(s string) string {
	if len(s) == 0 || len(s) > 3 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return ""
	}
	return s
}

// fold brings a name to small Latin letters and digits without marks; what is between words becomes one space.
func fold(name string) string {
	out := make([]byte, 0, len(name))
	gap := false
	for _, r := range name {
		letters := ""
		switch {
		case r >= 'A' && r <= 'Z':
			letters = string(r + 'a' - 'A')
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			letters = string(r)
		case strings.ContainsRune("'’‘ʻʼ`.", r):
			continue
		default:
			letters = plain(r)
		}
		if letters == "" {
			gap = true
			continue
		}
		if gap && len(out) > 0 {
			out = append(out, ' ')
		}
		gap = false
		out = append(out, letters...)
	}
	return string(out)
}

// marked lists Latin letters with marks behind the letters they are written as without.
var marked = [...]struct{ plain, with string }{
	{"a", "àáâãäåāăąạảầấẩẫậắằẳẵặǎəÀÁÂÃÄÅĀĂĄẠẢƏ"}, {"ae", "æÆ"}, {"c", "çćčċÇĆČĊ"}, {"d", "ďđðḑĎĐÐḐ"}, {"e", "èéêëēĕėęěẹẻẽềếểễệÈÉÊËĒĖĘĚ"}, {"g", "ğġģǧĞĠĢ"},
	{"h", "ĥħḩḥĤĦḨḤ"}, {"i", "ìíîïĩīĭįıịỉÌÍÎÏĨĪĮİ"}, {"k", "ķĶ"}, {"l", "ĺļľłĹĻĽŁ"}, {"n", "ñńņňÑŃŅŇ"}, {"o", "òóôõöøōŏőơọỏồốổỗộờớởỡợÒÓÔÕÖØŌŐƠ"},
	{"oe", "œŒ"}, {"r", "ŕřŔŘ"}, {"s", "śşšșṣŚŞŠȘṢ"}, {"ss", "ß"}, {"t", "ţťțṭŢŤȚṬ"}, {"th", "þÞ"}, {"u", "ùúûüũūŭůűųưụủừứửữựÙÚÛÜŨŪŮŰŲƯ"},
	{"w", "ŵŴ"}, {"y", "ýÿŷỳỹÝŶ"}, {"z", "źżžẕŹŻŽẔ"},
}

// plain returns r without its marks; "" when it is no Latin letter that is known.
func plain(r rune) string {
	for i := range marked {
		if strings.ContainsRune(marked[i].with, r) {
			return marked[i].plain
		}
	}
	return ""
}
