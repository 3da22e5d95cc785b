package catalog

import "testing"

// This is the protocol of blobs.go as a machine of few states, with everything that may come between: publishers that die at any step, claims that expire at any
// moment whether their holder lives or not, deletes that the bucket carries out late, or never, two collectors that know nothing of each other. All states
// that can be reached are visited. In each of them a blob that is referred to must be in the bucket; and if from there on nobody publishes any more, the
// sweeper must come to an end at which the bucket has what is referred to and nothing else.

const (
	modelUploaders = 3 // 0 and 1 publish the same bytes to one site, 2 to another one
	modelKeys      = 2 // key 0 is that of the hash; key 1 is a fresh one
)

// modelBlob is a key: its row, and what the bucket has.
type modelBlob struct {
	row    byte // 0 none, else 'l', 'c' or 'd' for live, condemned and deleting
	bytes  bool
	sent   byte // deletes on their way: the bucket carries them out, or not
	refs   byte // bit i: the version of uploader i refers to it
	sure   byte // bit i: and that is sure
	claims byte // bit i: uploader i claims it
	puts   byte // bit i: uploader i is storing it; if it dies, the bucket may finish that or not
}

// The steps of an uploader.
const (
	upIdle = iota
	upClaimed
	upStoring
	upStored // or relies on what is there
	upReserved
	upHead
	upCommitted
	upDone
	upDead
)

type modelState struct {
	blobs   [modelKeys]modelBlob
	at      [modelUploaders]byte
	key     [modelUploaders]byte
	crashed [modelUploaders]bool
	// What the server of the path has of an uploader's version, and the bucket: a reservation, a version, the head that names it, a removal.
	reserved, recorded, head, removal byte
}

// flaws switch parts of the protocol off, to show that the search finds what they are for.
type flaws struct {
	referUnclaimed, deleteClaimed, claimDeleting, forgetEarly, dropReserved, storeLate bool
}

type model struct {
	t     *testing.T
	flaw  flaws
	idle  byte // bit i: uploader i has no part in it
	seen  map[modelState]bool
	queue []modelState
}

// condemn is condemnUnused.
func (b *modelBlob) condemn() {
	if b.row == 'l' && b.refs == 0 && b.claims == 0 {
		b.row = 'c'
	}
}

func site(i int) int { return i / 2 }

// referred is a key to which the site of uploader i refers.
func (m *model) referred(s *modelState, i int) (int, bool) {
	for k := range s.blobs {
		for j := range modelUploaders {
			if s.blobs[k].refs&(1<<j) != 0 && site(j) == site(i) {
				return k, true
			}
		}
	}
	return 0, false
}

// claimable claims a key for uploader i to store.
func (m *model) claimable(s *modelState, i int) (int, bool) {
	for k := range s.blobs {
		if b := &s.blobs[k]; b.row != 'd' || m.flaw.claimDeleting {
			if k > 0 && b.row != 0 { // a fresh key is fresh
				continue
			}
			b.row = 'l'
			b.claims |= 1 << i
			return k, true
		}
	}
	return 0, false
}

// publish is the next step of uploader i.
func (m *model) publish(s modelState, i int) {
	bit := byte(1) << i
	b := &s.blobs[s.key[i]]
	switch s.at[i] {
	case upIdle:
		if k, ok := m.referred(&s, i); ok && s.blobs[k].row != 'd' {
			s.blobs[k].claims |= bit
			s.key[i], s.at[i] = byte(k), upStored
			m.add(s)
			return
		}
		k, ok := m.claimable(&s, i)
		if !ok {
			return
		}
		s.key[i], s.at[i] = byte(k), upClaimed
	case upClaimed:
		if b.claims&bit == 0 && !m.flaw.storeLate { // the claim's time is over, by the uploader's own clock
			s.at[i] = upDead
			break
		}
		b.puts |= bit
		s.at[i] = upStoring
	case upStoring:
		b.puts &^= bit
		b.bytes = true
		s.at[i] = upStored
	case upStored:
		s.reserved |= bit
		if b.claims&bit == 0 && !m.flaw.referUnclaimed || b.row == 0 {
			s.reserved &^= bit
			s.at[i] = upDead
			break
		}
		if b.row == 'c' {
			b.row = 'l'
		}
		b.refs |= bit
		s.at[i] = upReserved
	case upReserved:
		if s.reserved&bit == 0 { // somebody has settled it: too late to write
			s.at[i] = upDead
			break
		}
		s.head |= bit
		s.at[i] = upHead
	case upHead:
		if s.removal&bit == 0 {
			s.recorded |= bit
		}
		s.reserved &^= bit
		s.at[i] = upCommitted
	case upCommitted:
		if s.recorded&bit != 0 {
			b.refs |= bit
			b.sure |= bit
		}
		b.claims &^= bit
		b.condemn()
		s.at[i] = upDone
	default:
		return
	}
	m.add(s)
}

// settle is what the sweeper does with the reservation of an uploader that died, or was too slow before its head.
func (m *model) settle(s modelState, i int) {
	bit := byte(1) << i
	if s.reserved&bit == 0 || !s.crashed[i] && s.at[i] != upReserved {
		return
	}
	b := &s.blobs[s.key[i]]
	if s.head&bit != 0 {
		s.recorded |= bit
		b.refs |= bit
		b.sure |= bit
	} else if b.sure&bit == 0 {
		b.refs &^= bit
		b.condemn()
	}
	s.reserved &^= bit
	m.add(s)
}

// doubt is what the collector does with an unsure reference.
func (m *model) doubt(s modelState, i int) {
	bit := byte(1) << i
	b := &s.blobs[s.key[i]]
	if b.refs&bit == 0 || b.sure&bit != 0 {
		return
	}
	switch {
	case s.recorded&bit != 0:
		b.sure |= bit
	case s.reserved&bit != 0 && !m.flaw.dropReserved:
		return
	default:
		b.refs &^= bit
		b.condemn()
	}
	m.add(s)
}

// remove takes a recorded version away: first the row, which becomes a removal, then the reference.
func (m *model) remove(s modelState, i int) {
	bit := byte(1) << i
	switch {
	case s.recorded&bit != 0 && (s.at[i] >= upDone || s.crashed[i]):
		s.recorded &^= bit
		s.removal |= bit
		s.head &^= bit
	case s.removal&bit != 0:
		b := &s.blobs[s.key[i]]
		if b.refs&bit == 0 {
			return
		}
		b.refs &^= bit
		b.sure &^= bit
		b.condemn()
	default:
		return
	}
	m.add(s)
}

// collect is the steps of any collector with a key. A delete is on its way from the moment that its row was marked.
func (m *model) collect(s modelState, k int) {
	b := &s.blobs[k]
	switch {
	case b.row == 'c' && b.refs == 0 && b.claims == 0, m.flaw.deleteClaimed && b.row == 'l' && b.refs == 0:
		b.row = 'd'
		b.sent = min(b.sent+1, 2)
		m.add(s)
		crashed := s
		crashed.blobs[k].sent--
		m.add(crashed)
	case b.row == 'd' && b.bytes && b.sent < 2: // once more
		b.sent++
		m.add(s)
	case b.row == 'd' && !b.bytes && (b.sent == 0 && b.puts == 0 || m.flaw.forgetEarly):
		b.row = 0
		m.add(s)
	}
}

// land carries out what is on its way to the bucket, or loses it.
func (m *model) land(s modelState, k int) {
	b := &s.blobs[k]
	for i := range modelUploaders {
		if bit := byte(1) << i; b.puts&bit != 0 && s.crashed[i] {
			late := s
			late.blobs[k].puts &^= bit
			m.add(late)
			late.blobs[k].bytes = true
			m.add(late)
		}
	}
	if b.sent == 0 {
		return
	}
	b.sent--
	m.add(s)
	b.bytes = false
	m.add(s)
}

func (m *model) expire(s modelState, k, i int) {
	bit := byte(1) << i
	b := &s.blobs[k]
	if b.claims&bit == 0 {
		return
	}
	b.claims &^= bit
	b.condemn()
	m.add(s)
}

func (m *model) add(s modelState) {
	if !m.seen[s] {
		m.seen[s] = true
		m.queue = append(m.queue, s)
	}
}

func (m *model) next(s modelState) {
	for i := range modelUploaders {
		if m.idle&(1<<i) != 0 {
			continue
		}
		if !s.crashed[i] {
			m.publish(s, i)
			if s.at[i] > upIdle && s.at[i] < upDone {
				dead := s
				dead.crashed[i] = true
				m.add(dead)
			}
		}
		m.settle(s, i)
		m.doubt(s, i)
		m.remove(s, i)
	}
	for k := range s.blobs {
		m.collect(s, k)
		m.land(s, k)
		for i := range modelUploaders {
			m.expire(s, k, i)
		}
	}
}

// broken says what must never be so.
func broken(s *modelState) string {
	for k := range s.blobs {
		if b := &s.blobs[k]; b.refs != 0 && !b.bytes {
			return "a blob that is referred to is missing"
		}
	}
	for i := range modelUploaders {
		if bit := byte(1) << i; (s.recorded|s.head)&bit != 0 && s.removal&bit == 0 && !s.blobs[s.key[i]].bytes {
			return "a version that readers see has no bytes"
		}
	}
	return ""
}

// orphans lets the sweeper come to its end, with nobody publishing any more, and says whether the bucket has what nothing refers to.
func (m *model) orphans(s modelState) string {
	for i := range modelUploaders {
		s.crashed[i] = true
	}
	for range 1000 {
		end := &model{t: m.t, seen: map[modelState]bool{}}
		for i := range modelUploaders {
			end.settle(s, i)
			end.doubt(s, i)
			if s.removal&(1<<i) != 0 {
				end.remove(s, i)
			}
		}
		for k := range s.blobs {
			for i := range modelUploaders {
				end.expire(s, k, i)
			}
			end.collect(s, k)
			end.land(s, k)
		}
		if len(end.queue) == 0 {
			break
		}
		s = end.queue[len(end.queue)-1]
	}
	for k := range s.blobs {
		if b := &s.blobs[k]; b.bytes != (b.refs != 0) || b.row != 0 && b.refs == 0 {
			return "bytes or a row are left that nothing refers to"
		}
	}
	return ""
}

func (m *model) run() (why string) {
	m.seen = map[modelState]bool{}
	m.add(modelState{})
	ends := map[modelState]bool{}
	for len(m.queue) > 0 {
		s := m.queue[len(m.queue)-1]
		m.queue = m.queue[:len(m.queue)-1]
		if why := broken(&s); why != "" {
			return why
		}
		if !ends[s] {
			ends[s] = true
			if why := m.orphans(s); why != "" {
				return why
			}
		}
		m.next(s)
	}
	return ""
}

// TestBlobProtocol visits every state of the protocol with two publishers, of one site and of two, and of the protocol with one part left out each, which
// must be found.
func TestBlobProtocol(t *testing.T) {
	pairs := map[string]byte{"one site": 1 << 2, "two sites": 1 << 1}
	for name, idle := range pairs {
		sound := &model{t: t, idle: idle}
		if why := sound.run(); why != "" {
			t.Errorf("the protocol, %s: %s", name, why)
		}
		t.Logf("%s: %d states", name, len(sound.seen))
	}
	for name, f := range map[string]flaws{
		"a reference without a claim":            {referUnclaimed: true},
		"a claim on what is being deleted":       {claimDeleting: true},
		"forgotten while a delete is on its way": {forgetEarly: true},
		"an unsure reference of a reservation":   {dropReserved: true},
		"deleted in spite of a claim":            {deleteClaimed: true},
		"stored after the claim's time":          {storeLate: true},
	} {
		found := ""
		for _, idle := range pairs {
			found += (&model{t: t, flaw: f, idle: idle}).run()
		}
		if found == "" {
			t.Errorf("%s: the search finds nothing", name)
		}
	}
}
