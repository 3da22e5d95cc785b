package purge

// Behind returns how many entries up to q a node at p has not applied, all regions together. ok is false when that
// cannot be said: a region of q is unknown to p or stands in another stream.
func (p Position) Behind(q Position) (entries uint64, ok bool) {
	for region, want := range q.marks {
		have, known := p.marks[region]
		if !known || have.Stream != want.Stream {
			return 0, false
		}
		if have.Seq < want.Seq {
			entries += want.Seq - have.Seq
		}
	}
	return entries, true
}
