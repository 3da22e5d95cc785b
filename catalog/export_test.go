package catalog

// Crash ends everything of c, as a kill of its process does: nothing is said, no lease is given back.
func Crash(c *Catalog) error {
	for _, m := range c.members {
		s := m.opened()
		s.stop()
		s.stop = nil
	}
	return c.Close()
}
