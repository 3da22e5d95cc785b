package steer

import "math"

// earthRadius is the mean radius in km.
const earthRadius = 6371.0

// Distance returns the great-circle distance in km between two points given in degrees.
func Distance(lat1, lon1, lat2, lon2 float64) float64 {
	chord := vectorOf(lat1, lon1).chord(vectorOf(lat2, lon2))
	return 2 * earthRadius * math.Asin(min(1, chord/2))
}

// vector is a point on the unit sphere.
type vector struct{ x, y, z float64 }

func vectorOf(lat, lon float64) vector {
	const radian = math.Pi / 180
	sinLat, cosLat := math.Sincos(lat * radian)
	sinLon, cosLon := math.Sincos(lon * radian)
	return vector{cosLat * cosLon, cosLat * sinLon, sinLat}
}

// chord returns the straight distance between two points, 0 to 2. It orders points as the great circle does and
// costs no trigonometry.
func (v vector) chord(w vector) float64 {
	dx, dy, dz := v.x-w.x, v.y-w.y, v.z-w.z
	return math.Sqrt(dx*dx + dy*dy + dz*dz)
}
