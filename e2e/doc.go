// Package e2e drives the real binary the way people do: `perigee up`, or its roles as processes of their own, with real DNS
// packets, real HTTP, a real browser and kill -9. It has tests and benchmarks only.
package e2e
