package rtt

import (
	"math"

	"golang.org/x/sys/unix"
)

// minDelivered is how many bytes must have reached a client before its connection counts. What delivers less is refused, or asks whether the
// edge is there: probers, which connect every second to every edge, would otherwise stand out as the clients of their networks.
const minDelivered = 1 << 10

// Measure returns the round trip of the TCP connection behind a descriptor, in microseconds; false if hardly anything was delivered on it, or it
// cannot be said.
func Measure(fd int) (micros uint32, ok bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.Bytes_acked < minDelivered {
		return 0, false
	}
	// A kernel before 4.9 leaves Min_rtt at 0; the highest number stands for "none".
	if m := info.Min_rtt; m > 0 && m < math.MaxUint32 {
		return m, true
	}
	return info.Rtt, info.Rtt > 0
}
