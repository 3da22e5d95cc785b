// Package steer decides which edge a client is sent to: place × fleet × policy -> ranked edges.
//
// A Plan is made from an Input: the edges of a fleet.Snapshot, which of them may be chosen and why the others may not, a Policy and measured Latencies.
// Plan.Choose and Plan.Rank answer for one place, Plan.Find and Plan.RankAddr for one address; Rank says of every edge why it won or lost, and its first
// edge is the first that Choose chooses. A Map is a Plan compiled with a geo.DB: a look-up by address that also tells the largest prefix in which
// every client gets the same edges. Published prefixes never overlap, also around overrides by subnet (RFC 7871 §7.2.1).
//
// The order is: the edges that an override names, as it names them; then fit edges by great-circle distance, which biases and latencies correct; edges of one
// ring, by default those that are equally near to a kilometre, share the clients by weighted rendezvous hashing of the client's place, so that each place
// keeps its edge when others come and go. A client whose place is not known gets the first fit edge by name. An answer may have several edges,
// each of another failure domain. When no edge is fit, the answer is not empty: see Input.Plan.
//
// Balance keeps edges below their capacity: it decides, for the places of a geo.DB and their Demand, which clients are sent to another edge than their first,
// moves as few as it can, and lets them come back slowly. What it decides is part of the Plan that it returns, and of the plans made from that one.
// Compare and Plan.WhatIf tell what a change moves.
//
// The package is pure: no I/O, no goroutines, no clock. Plans, Policies and Maps are immutable and safe for concurrent use.
package steer
