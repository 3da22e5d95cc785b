// Package steer decides which edge a client is sent to: place × fleet -> ranked edges.
//
// A Plan is made from a fleet.Snapshot: which edges there are, which of them may be chosen, and why the others may not.
// Plan.Choose and Plan.Rank answer for one place; Rank says of every edge why it won or lost, and its first edge is
// the first that Choose chooses. A Map is a Plan compiled with a geo.DB: a look-up by address that also tells the largest prefix
// in which every client gets the same edge.
//
// The order is: fit edges by great-circle distance; edges that are equally near (to a kilometre) share the clients by
// rendezvous hashing of the client's place, so that each place keeps its edge when others come and go. A client whose
// place is not known gets the first fit edge by name. When no edge is fit, the answer is not empty: see NewPlan.
//
// The package is pure: no I/O, no goroutines, no clock. Plans and Maps are immutable and safe for concurrent use.
package steer
