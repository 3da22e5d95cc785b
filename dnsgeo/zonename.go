package dnsgeo

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// ZoneName returns the name of the zone whose records text has in the form of RFC 1035 §5: the owner of its SOA, which is the first record. A text that does not
// begin so is an error.
func ZoneName(text string) (string, error) {
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	p.SetDefaultTTL(staticTTL)
	rr, ok := p.Next()
	if err := p.Err(); err != nil {
		return "", fmt.Errorf("zone file: %w", err)
	}
	if !ok {
		return "", fmt.Errorf("zone file: there is no record in it; it begins with the SOA of the zone (RFC 1035 §5.2)")
	}
	if _, soa := rr.(*dns.SOA); !soa {
		return "", fmt.Errorf("zone file: the first record is %s; it must be the SOA of the zone (RFC 1035 §5.2)", dns.Type(rr.Header().Rrtype))
	}
	return dns.CanonicalName(rr.Header().Name), nil
}
