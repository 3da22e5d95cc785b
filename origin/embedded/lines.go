package embedded

import "bytes"

// maxLine is the longest line in bytes that is kept in one piece.
const maxLine = 64 << 10

// lineWriter calls line for every line written to it. A line longer than maxLine comes in pieces;
// what follows the last line end is kept for later.
type lineWriter struct {
	line func(string)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			break
		}
		w.line(string(w.rest[:i]))
		w.rest = w.rest[i+1:]
	}
	if len(w.rest) > maxLine {
		w.line(string(w.rest))
		w.rest = nil
	}
	return len(p), nil
}
