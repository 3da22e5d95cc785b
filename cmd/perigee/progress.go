package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"perigee/clock"
)

// progress is a bar on the last line of a terminal. Without a terminal it draws nothing. startProgress starts a goroutine,
// stop ends it and waits. The other methods are safe for concurrent use, and cost next to nothing: the bar is drawn
// by the clock, not by what happens.
type progress struct {
	w     io.Writer // nil draws nothing
	width func() int
	clock clock.Clock
	begun time.Time
	quit  chan struct{}
	ended chan struct{}

	mu         sync.Mutex
	files      int // done
	totalFiles int
	bytes      int64 // sent or found to be there
	totalBytes int64
	drawn      bool
}

// drawEvery is how often the bar is drawn.
const drawEvery = 100 * time.Millisecond

func startProgress(a *app, files int, bytes int64) *progress {
	p := &progress{totalFiles: files, totalBytes: bytes, clock: a.clock, begun: a.clock.Now()}
	f, ok := terminal(a.stderr)
	if !ok || a.JSON {
		return p
	}
	p.w, p.quit, p.ended = f, make(chan struct{}), make(chan struct{})
	p.width = func() int {
		ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil || ws.Col == 0 {
			return 80
		}
		return int(ws.Col)
	}
	go p.run()
	return p
}

func (p *progress) run() {
	defer close(p.ended)
	t := p.clock.NewTicker(drawEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C():
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		case <-p.quit:
			return
		}
	}
}

// stop takes the bar away.
func (p *progress) stop() {
	if p.w == nil {
		return
	}
	close(p.quit)
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

// sent counts bytes; a negative number takes back what will be sent again.
func (p *progress) sent(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += n
}

// file counts a file that is done.
func (p *progress) file() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files++
}

// done counts a file of n bytes that needed no sending.
func (p *progress) done(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files++
	p.bytes += n
}

// fail takes a file of n bytes out of the account.
func (p *progress) fail(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totalBytes -= n
	p.totalFiles--
}

// aside runs print while the bar is away.
func (p *progress) aside(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	print()
}

// erase and draw need p.mu.
func (p *progress) erase() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *progress) draw() {
	fmt.Fprint(p.w, "\r"+p.text(p.width()-1)+"\x1b[K")
	p.drawn = true
}

// text returns the bar in at most width columns.
func (p *progress) text(width int) string {
	share := 1.0
	if p.totalBytes > 0 {
		share = float64(p.bytes) / float64(p.totalBytes)
	} else if p.totalFiles > 0 {
		share = float64(p.files) / float64(p.totalFiles)
	}
	share = min(max(share, 0), 1)
	rate, left := "", ""
	if s := p.clock.Now().Sub(p.begun).Seconds(); s > 0.5 && p.bytes > 0 {
		r := float64(p.bytes) / s
		rate = "  " + humanBytes(int64(r)) + "/s"
		left = "  " + (time.Duration(float64(max(0, p.totalBytes-p.bytes))/r) * time.Second).String() + " left"
	}
	tail := fmt.Sprintf(" %3.0f%%  %s/%s files  %s/%s%s%s", 100*share, grouped(p.files), grouped(p.totalFiles),
		humanBytes(p.bytes), humanBytes(p.totalBytes), rate, left)
	cells := min(30, width-len(tail)-2)
	if cells < 5 {
		return tail[:max(0, min(len(tail), width))]
	}
	full := int(share * float64(cells))
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", cells-full) + "]" + tail
}

// humanBytes writes a size with three digits: "1.23 GB".
func humanBytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v /= 1000
		if v < 999.5 || unit == "PB" {
			digits := 2
			if v >= 99.95 {
				digits = 0
			} else if v >= 9.995 {
				digits = 1
			}
			return strconv.FormatFloat(v, 'f', digits, 64) + " " + unit
		}
	}
	panic("unreachable: the last unit takes everything")
}

// grouped writes 12345 as "12,345".
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}
