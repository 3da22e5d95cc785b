package cache

import "errors"

// errHarmed is the answer's end when a segment was cut, or erased in, while pages of it were being sent.
var errHarmed = errors.New("a segment was cut or erased in while it was being sent")

// maxLent is how many records are watched after they were sent: more than fit into the kernel's buffer of a connection.
const maxLent = 8

// lend keeps the record at hand, which was sent, under watch.
func (b *Body) lend() error {
	b.lent = append(b.lent, b.piece.rec)
	b.piece = piece{i: -1}
	if len(b.lent) <= maxLent {
		return nil
	}
	intact := b.lent[0].Intact()
	b.lent[0].Close()
	if b.lent = b.lent[1:]; !intact {
		return errHarmed
	}
	return nil
}

// checkLent fails if a record that was sent lately has come to harm.
func (b *Body) checkLent() error {
	for _, r := range b.lent {
		if !r.Intact() {
			return errHarmed
		}
	}
	return nil
}
