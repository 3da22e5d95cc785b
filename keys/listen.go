package keys

import (
	"fmt"
	"net"
	"net/netip"
)

// Loopback reports whether a listen address ("host:port") can be reached from this machine only. An empty host is
// every interface, and a name other than localhost may become any address.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// CheckListen refuses a listener that strangers could reach and that nothing guards: what is its name for people, such
// as "the API (api.listen)", hasKeys whether it asks for any key.
func CheckListen(addr string, hasKeys bool, what string) error {
	if hasKeys || Loopback(addr) {
		return nil
	}
	return fmt.Errorf("%s on %s can be reached from other machines, and there is no key to guard it: make one with `perigee keys create --name me --scope admin` (or set PERIGEE_API_KEY), or listen on 127.0.0.1", what, addr)
}
