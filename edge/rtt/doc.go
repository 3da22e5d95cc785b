// Package rtt knows how long packets take to the clients of an edge: round trips of TCP connections that the kernel has measured anyway, by the clients' network.
//
// A connection is measured once, when it is closed, and a long one about once a minute; no request costs anything. Taken is the least round trip of the
// connection's last minutes (tcpi_min_rtt of TCP_INFO, where the kernel has it), not the smoothed one: that one also tells of queues and of clients that acknowledge late,
// which come and go, while steering asks for the way. A connection on which less than 1 KiB was delivered has no say: it is no client's, but a prober's.
//
// A Table holds the networks of clients, /24 of IPv4 and /48 of IPv6, never addresses, in memory alone, at most Size of them; a newcomer takes the place of one with
// few connections. Take hands out what is new, in turn, for the edge's reports. A network is reported when MinReport connections of it have been
// measured since its last report, as one connection is no median.
//
// The edge has no geo data, so it says nothing of places: fleet/latency, where the reports arrive, turns networks into cells and forgets the networks.
//
// The package starts no goroutine. On systems without TCP_INFO nothing is measured and the table stays empty.
package rtt
