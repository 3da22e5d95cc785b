package lane

// Pin keeps memory in place that an answer is sent from.
type Pin interface {
	// Release is called exactly once, when the memory is not read any more: on the loop, so it must not block.
	Release()
}

// copyLimit is up to where a body is copied instead of pinned: below it, the copy costs less than a vector for the kernel
// and a release later.
const copyLimit = 16 << 10

// Reply collects what Handler.Hot answers. The answers to pipelined requests leave in one write. The zero value is empty.
type Reply struct {
	buf    []byte
	bodies []pinned
	pinned int // bytes in bodies
}

// pinned is a body that is sent after buf[:at].
type pinned struct {
	at   int
	body []byte
	pin  Pin
}

// Append adds bytes to the answer; they are copied.
func (w *Reply) Append(p ...[]byte) {
	for _, b := range p {
		w.buf = append(w.buf, b...)
	}
}

// Send adds head, which is copied, and body. A body that is large is not: it is read until pin is released, which may be as long
// as the client takes. If pin is nil, body must never change.
func (w *Reply) Send(head, body []byte, pin Pin) {
	w.buf = append(w.buf, head...)
	if len(body) > copyLimit {
		w.bodies = append(w.bodies, pinned{len(w.buf), body, pin})
		w.pinned += len(body)
		return
	}
	w.buf = append(w.buf, body...)
	if pin != nil {
		pin.Release()
	}
}

// size returns how many bytes wait.
func (w *Reply) size() int { return len(w.buf) + w.pinned }

// cut drops what was added since the reply had n bytes to copy and m bodies.
func (w *Reply) cut(n, m int) {
	w.buf = w.buf[:n]
	for i := m; i < len(w.bodies); i++ {
		w.pinned -= len(w.bodies[i].body)
		if p := w.bodies[i].pin; p != nil {
			p.Release()
		}
	}
	clear(w.bodies[m:])
	w.bodies = w.bodies[:m]
}

// keepReply is how much memory of an emptied reply is kept for the next one.
const keepReply = 256 << 10

// forget empties the reply without a release: whoever took the bodies does that.
func (w *Reply) forget() {
	clear(w.bodies)
	w.buf, w.bodies, w.pinned = w.buf[:0], w.bodies[:0], 0
	if cap(w.buf) > keepReply {
		w.buf = nil
	}
}
