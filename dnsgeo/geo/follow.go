package geo

import (
	"context"
	"log/slog"
	"os"
	"time"

	"perigee/clock"
)

// followEvery is how often Follow looks at its file.
const followEvery = time.Second

// OpenFile returns a Holder of the database in file, or of the table in the binary if there is no such file, and what
// Follow needs to notice that the file has changed since.
func OpenFile(file string) (h *Holder, seen os.FileInfo, err error) {
	db, err := Embedded()
	if err != nil {
		return nil, nil, err
	}
	h = NewHolder(db)
	seen, err = os.Stat(file)
	if os.IsNotExist(err) {
		return h, nil, nil
	}
	if err == nil {
		err = h.Swap(file)
	}
	return h, seen, err
}

// Follow puts file into use whenever it is another one than seen, until ctx ends. A file that Swap refuses is left alone
// until it changes again. Replace it by renaming: a file that is being written may be read half.
func (h *Holder) Follow(ctx context.Context, file string, seen os.FileInfo, c clock.Clock, log *slog.Logger) {
	t := c.NewTicker(followEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
		}
		now, err := os.Stat(file)
		if err != nil || seen != nil && os.SameFile(now, seen) && now.ModTime().Equal(seen.ModTime()) {
			continue
		}
		seen = now
		if err := h.Swap(file); err != nil {
			log.Error("the new geo data is not used; the old stays", "file", file, "err", err)
			continue
		}
		log.Info("new geo data in use", "file", file, "source", h.Current().Passport().Source)
	}
}
