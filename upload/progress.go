package upload

import (
	"io"
	"time"

	"perigee/object"
)

// Progress is how far an upload is that takes more than a second.
type Progress struct {
	// ID names the upload: the last segment of a resumable one's URL; made up for a PUT or a file of a form.
	ID   string      `json:"id"`
	Site object.Site `json:"site,omitempty"`
	Path object.Path `json:"path,omitempty"`
	// Received is how many bytes have arrived, Size how many there are; -1 if that is not known.
	Received int64 `json:"received"`
	Size     int64 `json:"size"`
	// Done says that no more comes: it was published, broke off or was refused.
	Done bool `json:"done,omitempty"`
}

const (
	// progressAfter is how long an upload takes at least of which progress is told, progressEvery how often.
	progressAfter = time.Second
	progressEvery = 500 * time.Millisecond
)

// meter counts what is read and tells Config.Progress of it. It starts nothing: who reads, tells. Done is told by stop.
type meter struct {
	r    io.Reader
	p    *Publisher
	at   Progress
	next time.Time
	told bool
}

// meter returns a body's reader that tells of progress. Call stop when all is over.
func (p *Publisher) meter(r io.Reader, at Progress) *meter {
	return &meter{r: r, p: p, at: at, next: p.cfg.Clock.Now().Add(progressAfter)}
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.at.Received += int64(n)
	if m.p.cfg.Progress == nil {
		return n, err
	}
	if now := m.p.cfg.Clock.Now(); !now.Before(m.next) {
		m.next, m.told = now.Add(progressEvery), true
		m.p.cfg.Progress(m.at)
	}
	return n, err
}

func (m *meter) stop() {
	if m.told {
		m.at.Done = true
		m.p.cfg.Progress(m.at)
	}
}
