// Package load asks a server for objects of package farm, over connections that are kept, and checks status, length and every byte of what
// comes back. It is a closed loop: each connection sends its next request when it has the answer to the last one.
//
// It is not a general client: it reads what HTTP/1.1 servers under test send, with Content-Length, and anything else counts as an error. Its own code is
// short, so that it seldom is what is measured; where it is, the server's time per request still counts.
//
// Life cycle: Run starts a goroutine for each connection, and returns when all of them have ended.
package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perigee/bench/farm"
)

// Config says what to ask for.
type Config struct {
	Addr   string  `json:"addr"`
	Prefix string  `json:"prefix"` // before the objects' paths
	Size   int64   `json:"size"`   // of the objects, in bytes
	Count  int     `json:"count"`  // how many there are
	First  int     `json:"first"`  // number of the first one
	Zipf   float64 `json:"zipf"`   // exponent of their popularity; 0 asks for them in turn
	Conns  int     `json:"conns"`
	// Requests ends the run after so many; 0 means Seconds decides.
	Requests int64   `json:"requests"`
	Seconds  float64 `json:"seconds"`
}

// Result is what came of it.
type Result struct {
	Requests int64  `json:"requests"` // answered, and right
	Errors   int64  `json:"errors"`   // anything but a right answer
	First    string `json:"first"`    // the first of them
	// Wrong counts those of Errors that a client would have taken for the object: other bytes, or another length, with status 200.
	Wrong int64 `json:"wrong"`
	// Spoilt counts those of Errors that broke off after other bytes than the object's.
	Spoilt     int64   `json:"spoilt"`
	FirstWrong string  `json:"first_wrong"`
	Bytes      int64   `json:"bytes"` // of bodies
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50"` // microseconds
	P99        float64 `json:"p99"`
	P999       float64 `json:"p999"`
}

// run is one Run.
type run struct {
	Config
	content  farm.Content
	cdf      []float64 // of Zipf
	next     atomic.Int64
	deadline time.Time

	mu     sync.Mutex
	result Result
	took   []uint32 // nanoseconds / 16, of all requests
}

// Run asks and checks.
func Run(cfg Config) Result {
	r := &run{Config: cfg, content: farm.NewContent(cfg.Size)}
	if cfg.Zipf > 0 {
		r.cdf = make([]float64, cfg.Count)
		sum := 0.0
		for i := range r.cdf {
			sum += math.Pow(float64(i+1), -cfg.Zipf)
			r.cdf[i] = sum
		}
	}
	began := time.Now()
	r.deadline = began.Add(time.Duration(cfg.Seconds * float64(time.Second)))
	var all sync.WaitGroup
	for c := range cfg.Conns {
		all.Go(func() { r.connection(uint64(c)) })
	}
	all.Wait()
	r.result.Seconds = time.Since(began).Seconds()
	slices.Sort(r.took)
	for q, p := range map[float64]*float64{0.5: &r.result.P50, 0.99: &r.result.P99, 0.999: &r.result.P999} {
		if n := len(r.took); n > 0 {
			*p = float64(r.took[min(n-1, int(q*float64(n)))]) * 16 / 1000
		}
	}
	return r.result
}

// choose returns the object of request i.
func (r *run) choose(i int64, rng *rand.Rand) int {
	if r.cdf == nil {
		return r.Config.First + int(i%int64(r.Count))
	}
	n, _ := slices.BinarySearch(r.cdf, rng.Float64()*r.cdf[len(r.cdf)-1])
	// The popular ones must not be neighbours on disk.
	return r.Config.First + int(uint64(min(n, r.Count-1))*2654435761%uint64(r.Count))
}

// connection is one client.
func (r *run) connection(seed uint64) {
	c := &client{run: r, rng: rand.New(rand.NewPCG(seed, 9))}
	for {
		i := r.next.Add(1) - 1
		if r.Requests > 0 && i >= r.Requests || r.Requests == 0 && time.Now().After(r.deadline) {
			break
		}
		began := time.Now()
		if err := c.ask(r.choose(i, c.rng)); err != nil {
			c.errors++
			if errors.Is(err, errSpoilt) {
				c.spoilt++
			}
			if errors.Is(err, errWrong) {
				if c.wrong++; c.firstWrong == "" {
					c.firstWrong = err.Error()
				}
			}
			if c.first == "" {
				c.first = err.Error()
			}
			c.close()
			if c.errors > 100 {
				break
			}
			continue
		}
		c.took = append(c.took, uint32(min(time.Since(began)/16, math.MaxUint32)))
	}
	c.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took = append(r.took, c.took...)
	r.result.Requests += int64(len(c.took))
	r.result.Errors += c.errors
	r.result.Wrong += c.wrong
	r.result.Spoilt += c.spoilt
	if r.result.FirstWrong == "" {
		r.result.FirstWrong = c.firstWrong
	}
	r.result.Bytes += int64(len(c.took)) * r.Size
	if r.result.First == "" {
		r.result.First = c.first
	}
}

type client struct {
	*run
	rng               *rand.Rand
	conn              net.Conn
	in                *bufio.Reader
	out               []byte
	took              []uint32
	errors, wrong     int64
	spoilt            int64
	first, firstWrong string
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

const patience = 30 * time.Second

// ask fetches object n and checks it.
func (c *client) ask(n int) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.Addr, patience)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReaderSize(conn, 64<<10)
	}
	c.out = fmt.Appendf(c.out[:0], "GET %s/%d/%d HTTP/1.1\r\nHost: %s\r\n\r\n", c.Prefix, c.Size, n, farm.Host)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	length, err := c.head()
	if err != nil {
		return err
	}
	if length != c.Size {
		return fmt.Errorf("%w: /%d/%d has a Content-Length of %d", errWrong, c.Size, n, length)
	}
	return c.body(c.content.Bytes(c.Size, n))
}

var (
	okLine     = []byte("HTTP/1.1 200 ")
	lengthLine = []byte("content-length:")
)

// head reads the head of an answer and returns its Content-Length.
func (c *client) head() (length int64, err error) {
	length = -1
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first && !bytes.HasPrefix(line, okLine):
			return 0, fmt.Errorf("status line %q", line)
		case len(line) == 0:
			return length, nil
		case len(line) > len(lengthLine) && bytes.EqualFold(line[:len(lengthLine)], lengthLine):
			length = 0
			for _, d := range bytes.TrimSpace(line[len(lengthLine):]) {
				length = length*10 + int64(d-'0')
			}
		}
	}
}

// body reads a body to its end. Other bytes in a transfer that breaks deceive nobody, but are told apart.
func (c *client) body(want []byte) error {
	var wrong error
	for len(want) > 0 {
		if c.in.Buffered() == 0 {
			if _, err := c.in.Peek(1); err != nil {
				if wrong != nil {
					return fmt.Errorf("%w: body ends %d bytes early: %w", errSpoilt, len(want), err)
				}
				return fmt.Errorf("body ends %d bytes early: %w", len(want), err)
			}
		}
		p, _ := c.in.Peek(min(c.in.Buffered(), len(want)))
		if wrong == nil && !bytes.Equal(p, want[:len(p)]) {
			wrong = fmt.Errorf("%w in an object of %d bytes, %d before its end", errWrong, c.Size, len(want))
		}
		want = want[len(p):]
		if _, err := c.in.Discard(len(p)); err != nil {
			return err
		}
	}
	return wrong
}

var (
	errWrong  = errors.New("a wrong answer")
	errSpoilt = errors.New("a broken transfer had other bytes")
)
