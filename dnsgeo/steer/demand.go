package steer

import (
	"fmt"
	"math"

	"perigee/dnsgeo/geo"
)

// Demand is which share of all clients is where. It is immutable.
type Demand struct {
	weights []float64 // by number of the place; all together 1
}

// NewDemand makes a Demand of weights, one for each of geo.DB.Places in their order, in any unit: queries, bytes, addresses.
func NewDemand(weights []float64) (*Demand, error) {
	d := &Demand{weights: make([]float64, len(weights))}
	sum := 0.0
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 1) {
			return nil, fmt.Errorf("demand: weight %v of place %d is no finite number from 0 on", w, i)
		}
		sum += w
	}
	if sum == 0 || math.IsInf(sum, 1) {
		return nil, fmt.Errorf("demand: the weights of %d places add up to %v", len(weights), sum)
	}
	for i, w := range weights {
		d.weights[i] = w / sum
	}
	return d, nil
}

// AddressSpace makes a Demand of the IPv4 addresses that db places, for when nothing has been measured. IPv6 says little: one network may be handed out
// 2^29 times as large as another. Addresses of unknown place count nothing, for most of them are in nobody's use. Without any IPv4 IPv6 has to do. It takes
// some 50 ms.
func AddressSpace(db *geo.DB) *Demand {
	var weights [2][]float64
	var sum [2]float64
	for f := range weights {
		weights[f] = make([]float64, len(db.Places()))
	}
	geo.Walk(func(s geo.Stretch) {
		f := IPv4
		if s.IPv6 {
			f = IPv6
		}
		if n := s.Numbers[0]; n != 0 {
			weights[f][n] += s.Size
			sum[f] += s.Size
		}
	}, db.Runs())
	f := IPv4
	if sum[IPv4] == 0 {
		f = IPv6
	}
	d := &Demand{weights: weights[f]}
	for i := range d.weights {
		d.weights[i] /= max(sum[f], 1)
	}
	return d
}

// Of returns the share of the clients that are at a place, by its number; 0 for places the Demand does not know.
func (d *Demand) Of(place int) float64 {
	if place < 0 || place >= len(d.weights) {
		return 0
	}
	return d.weights[place]
}
