// Package latency adds up, where the reports of a fleet arrive, what the edges have measured of their clients.
//
// An Aggregator hears reports and keeps two things: how long packets take between a cell of the Earth, a quarter of a degree, and an edge (Table); and how
// much farther than the nearest fit edge the edge was that clients came to (Errors), the steering error. Both need to know where a network is, so the caller lends
// its geo data. Networks are forgotten as soon as they are places: no address and no prefix of a client is kept.
//
// The steering error is counted here and not at the edges, because edges have no geo data and no list of the fit ones; and by connections and not by
// requests, because DNS sends connections somewhere, and because that is what the edges measure: it costs no request anything. Every process that
// has an Aggregator counts the same connections: the figures of two must not be added. An edge that does not measure is not in them.
//
// Of a cell and an edge the last 15 reported medians are kept, each with its number of connections; their weighted median is the round trip. The number of
// connections halves every HalfLife, so that steering comes to trust new figures more than old ones, and a pair of which
// less than one connection is left is forgotten. At most MaxPairs are held: beyond that those with the fewest connections give way.
//
// The package is pure: no goroutine, no I/O. Methods are safe for concurrent use.
package latency
