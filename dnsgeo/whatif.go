package dnsgeo

import "perigee/dnsgeo/steer"

// WhatIf tells what would move if a change were made to the fleet, starting from what is answered now; see steer.Plan.WhatIf. It takes about a second of one
// processor and some 100 MB for as long: callers bound how many run at the same time.
func (s *Server) WhatIf(change steer.Change) (steer.Comparison, error) {
	st := s.steering.current()
	b := steer.Balancing{DB: st.db, Fleet: s.steering.fleet(), Now: s.clock.Now()}
	if s.steering.demand != nil {
		b.Demand = s.steering.demand()
	}
	return st.plan.WhatIf(b, change)
}
