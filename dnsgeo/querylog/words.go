package querylog

import "strconv"

// types are the mnemonics of the types that people ask for, from IANA's registry "Domain Name System (DNS) Parameters".
var types = [...]string{
	1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA",
	29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT", 39: "DNAME", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY",
	46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS",
	60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 66: "DSYNC", 99: "SPF", 104: "NID", 105: "L32",
	106: "L64", 107: "LP", 108: "EUI48", 109: "EUI64", 128: "NXNAME", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY",
	256: "URI", 257: "CAA", 258: "AVC", 260: "AMTRELAY", 261: "RESINFO", 262: "WALLET",
}

// appendType appends a type's mnemonic, or TYPE and its number (RFC 3597 §5).
func appendType(b []byte, t uint16) []byte {
	if int(t) < len(types) && types[t] != "" {
		return append(b, types[t]...)
	}
	return strconv.AppendUint(append(b, "TYPE"...), uint64(t), 10)
}

// rcodes are the names of response codes, from the same registry; 16 is that of OPT.
var rcodes = [...]string{
	0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH",
	10: "NOTZONE", 11: "DSOTYPENI", 16: "BADVERS", 17: "BADKEY", 18: "BADTIME", 19: "BADMODE", 20: "BADNAME", 21: "BADALG", 22: "BADTRUNC",
	23: "BADCOOKIE",
}

func appendRcode(b []byte, c uint16) []byte {
	if int(c) < len(rcodes) && rcodes[c] != "" {
		return append(b, rcodes[c]...)
	}
	return strconv.AppendUint(append(b, "RCODE"...), uint64(c), 10)
}
