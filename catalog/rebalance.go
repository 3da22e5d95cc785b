package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"perigee/clock"
	"perigee/object"
)

// ServerInfo is a server as people see it.
type ServerInfo struct {
	Name string `json:"name"`
	// ID begins the ids of its log entries; "" before it was ever reached.
	ID string `json:"id"`
	// Slots is how many of the object.Slots it has.
	Slots int `json:"slots"`
	// Up says that it answered just now.
	Up bool `json:"up"`
}

// MoveInfo is a move that was ordered and has not ended.
type MoveInfo struct {
	Slot object.Slot `json:"slot"`
	From string      `json:"from"`
	To   string      `json:"to"`
	// Step is copying, placed or undoing.
	Step string `json:"step"`
	// Running says that a process works on it.
	Running bool `json:"running"`
	// Copied is how many rows were copied, by all tries.
	Copied int64 `json:"copied"`
	Tries  int   `json:"tries"`
	// Trouble is why the last try ended early, for people.
	Trouble string    `json:"trouble,omitempty"`
	Ordered time.Time `json:"ordered"`
}

// Layout is where everything is.
type Layout struct {
	// Epoch rises with every slot that has moved.
	Epoch   int64        `json:"epoch"`
	Servers []ServerInfo `json:"servers"`
	// Moves are the first 1,000 of those that are under way or waiting.
	Moves []MoveInfo `json:"moves"`
	// Waiting is how many moves there are in all.
	Waiting int `json:"waiting"`
}

// Layout returns the layout and what is being moved.
func (c *Catalog) Layout(ctx context.Context) (Layout, error) {
	if err := c.relearn(ctx); err != nil {
		return Layout{}, err
	}
	home, err := c.home(ctx)
	if err != nil {
		return Layout{}, err
	}
	l := c.layout.Load()
	out := Layout{Epoch: l.epoch, Moves: []MoveInfo{}}
	up := ask(ctx, c, func(s *server) ([]int, *possession, error) {
		var n int
		return nil, nil, s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM catalogue`).Scan(&n)
	})
	for i, n := range l.count(len(c.members)) {
		m := c.members[i]
		out.Servers = append(out.Servers, ServerInfo{m.name, m.identity(), n, up[i].err == nil})
	}
	if out.Moves, err = home.moves(ctx, maxPage); err != nil {
		return Layout{}, c.members[0].fault(err)
	}
	err = home.newest().QueryRowContext(ctx, `SELECT COUNT(*) FROM moves`).Scan(&out.Waiting)
	return out, c.members[0].fault(err)
}

const movesQuery = `SELECT slot, source, target, step, copied, tries, trouble, holder, expires, ordered FROM moves ORDER BY slot LIMIT $1`

func (s *server) moves(ctx context.Context, limit int) ([]MoveInfo, error) {
	now := s.cfg.Clock.Now().UnixMicro()
	ms, err := collect(ctx, s.newest(), func(in scanner) (MoveInfo, error) {
		var m MoveInfo
		var holder string
		var expires, ordered int64
		err := in.Scan(&m.Slot, &m.From, &m.To, &m.Step, &m.Copied, &m.Tries, &m.Trouble, &holder, &expires, &ordered)
		m.Running, m.Ordered = holder != "" && expires > now, fromMicros(ordered)
		return m, err
	}, movesQuery, limit)
	if err != nil {
		return nil, fmt.Errorf("list moves: %w", err)
	}
	return ms, nil
}

// named returns a server by its name; fs.ErrNotExist if the configuration has none of that name.
func (c *Catalog) named(name string) (*member, error) {
	for _, m := range c.members {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("server %q of the catalogue: %w", name, fs.ErrNotExist)
}

// OrderMoves has slots moved to a server; a Mover does it. An unknown server is fs.ErrNotExist, a slot that is being moved
// already fs.ErrExist, and one that is none or is there already wraps object.ErrInvalid: then nothing was ordered.
func (c *Catalog) OrderMoves(ctx context.Context, slots []object.Slot, to string) error {
	if _, err := c.named(to); err != nil {
		return err
	}
	orders := make(map[object.Slot]string, len(slots))
	for _, s := range slots {
		orders[s] = to
	}
	return c.order(ctx, orders)
}

func (c *Catalog) order(ctx context.Context, orders map[object.Slot]string) error {
	home, err := c.home(ctx)
	if err != nil {
		return err
	}
	now := c.cfg.Clock.Now().UnixMicro()
	err = home.change(ctx, "order moves", func(tx *sql.Tx) error {
		for slot, to := range orders {
			var from string
			err := tx.QueryRowContext(ctx, `SELECT server FROM layout WHERE slot = $1`, slot).Scan(&from)
			if errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("slot %d: %w: there are slots 0 to %d", slot, object.ErrInvalid, object.Slots-1)
			}
			if err != nil {
				return err
			}
			if from == to {
				return fmt.Errorf("slot %d: %w: it is on server %s already", slot, object.ErrInvalid, to)
			}
			res, err := tx.ExecContext(ctx, `INSERT INTO moves (slot, number, source, target, step, copied, tries, trouble, holder, expires, ordered)
				VALUES ($1, 0, $2, $3, $4, 0, 0, '', '', 0, $5) ON CONFLICT (slot) DO NOTHING`, slot, from, to, moveCopying, now)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return errors.Join(err, fmt.Errorf("slot %d is being moved: %w", slot, fs.ErrExist))
			}
		}
		return nil
	})
	c.wakeMover()
	return c.members[0].fault(err)
}

// OrderRebalance orders the moves after which all servers have as many slots, to within one, and returns how many these are.
// While moves are under way it is fs.ErrExist.
func (c *Catalog) OrderRebalance(ctx context.Context) (int, error) {
	l, err := c.Layout(ctx)
	if err != nil {
		return 0, err
	}
	if l.Waiting > 0 {
		return 0, fmt.Errorf("%d slots are being moved; wait for them, or cancel them: %w", l.Waiting, fs.ErrExist)
	}
	orders := c.layout.Load().balance(len(c.members))
	named := make(map[object.Slot]string, len(orders))
	for slot, m := range orders {
		named[slot] = c.members[m].name
	}
	return len(orders), c.order(ctx, named)
}

// balance returns which slots to move where so that all members have as many, to within one, by as few moves as that takes.
func (l *layout) balance(members int) map[object.Slot]int {
	have := l.count(members)
	want := make([]int, members)
	for i := range want {
		want[i] = object.Slots / members
	}
	// The few that are left over stay where most are, one on each.
	fullest := make([]int, members)
	for i := range fullest {
		fullest[i] = i
	}
	slices.SortStableFunc(fullest, func(a, b int) int { return have[b] - have[a] })
	for _, m := range fullest[:object.Slots%members] {
		want[m]++
	}
	orders := map[object.Slot]int{}
	to := 0
	for slot, m := range l.server {
		if have[m] <= want[m] {
			continue
		}
		for have[to] >= want[to] {
			to++
		}
		orders[object.Slot(slot)] = to
		have[m]--
		have[to]++
	}
	return orders
}

// CancelMove gives a move up: the slot stays where it is. A slot that is not being moved is fs.ErrNotExist; one that has
// arrived already wraps object.ErrInvalid.
func (c *Catalog) CancelMove(ctx context.Context, slot object.Slot) error {
	home, err := c.home(ctx)
	if err != nil {
		return err
	}
	err = home.change(ctx, fmt.Sprintf("cancel the move of slot %d", slot), func(tx *sql.Tx) error {
		var step moveStep
		err := tx.QueryRowContext(ctx, `SELECT step FROM moves WHERE slot = $1`+home.forUpdate(), slot).Scan(&step)
		if err != nil {
			return missing(err)
		}
		if step != moveCopying {
			return fmt.Errorf("%w: it is in the step %s", object.ErrInvalid, step)
		}
		// A run under way finds that it was overtaken.
		var n int64
		if err := tx.QueryRowContext(ctx, `UPDATE catalogue SET moves = moves + 1 RETURNING moves`).Scan(&n); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE moves SET step = $2, number = $3, holder = '', expires = 0 WHERE slot = $1`, slot, moveUndoing, n)
		return err
	})
	c.wakeMover()
	return c.members[0].fault(err)
}

// MoverConfig is what a Mover needs.
type MoverConfig struct {
	Catalog *Catalog
	Clock   clock.Clock
	Log     *slog.Logger
}

// Mover carries the moves out that were ordered, one at a time, and takes on those that other processes have left. Every
// process that has the catalogue open may run one.
type Mover struct {
	cfg  MoverConfig
	stop func(string) error // see moving.stop
}

// NewMover returns a Mover; Run makes it work.
func NewMover(cfg MoverConfig) (*Mover, error) {
	if cfg.Catalog == nil || cfg.Clock == nil || cfg.Log == nil {
		return nil, errors.New("catalog: MoverConfig needs Catalog, Clock and Log")
	}
	return &Mover{cfg: cfg, stop: func(string) error { return nil }}, nil
}

const (
	// movePause is how often a Mover looks for moves that nobody told it of, and how long it leaves one alone that failed.
	movePause = time.Second
	// moveTime is how long one try may take.
	moveTime = 10 * time.Minute
)

// Run moves until ctx ends and returns nil then. What fails is tried again for ever; the first failure of a move and every
// end are logged.
func (m *Mover) Run(ctx context.Context) error {
	poll := m.cfg.Clock.NewTicker(movePause)
	defer poll.Stop()
	for {
		m.all(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-m.cfg.Catalog.ordered:
		case <-poll.C():
		}
	}
}

// all tries each move once.
func (m *Mover) all(ctx context.Context) {
	if len(m.cfg.Catalog.members) == 1 {
		return
	}
	home, err := m.cfg.Catalog.home(ctx)
	if err != nil {
		return // it is reported by whoever needs it
	}
	moves, err := home.moves(ctx, maxPage)
	if err != nil && ctx.Err() == nil {
		m.cfg.Log.Warn("the moves of the catalogue cannot be read", "err", err)
	}
	for _, i := range moves {
		if ctx.Err() != nil {
			return
		}
		m.one(ctx, i)
	}
}

// one tries one move.
func (m *Mover) one(ctx context.Context, i MoveInfo) {
	ctx, cancel := context.WithTimeout(ctx, moveTime)
	defer cancel()
	v, err := m.cfg.Catalog.takeMove(ctx, i.Slot)
	if err == nil && v == nil {
		return // another process has it
	}
	if err == nil {
		v.stop = m.stop
		err = v.run(ctx)
	}
	switch {
	case errors.Is(err, errStopped):
	case err == nil:
		m.cfg.Log.Info("a slot has moved", "slot", i.Slot, "from", i.From, "to", i.To, "step", i.Step)
	default:
		if i.Trouble == "" {
			m.cfg.Log.Warn("a slot could not be moved yet", "slot", i.Slot, "from", i.From, "to", i.To, "err", err)
		}
		if v != nil {
			v.release(ctx, err)
		}
	}
}

// release lets other runs begin, and notes why this one ended.
func (v *moving) release(ctx context.Context, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	text := why.Error()
	text = strings.ToValidUTF8(text[:min(len(text), 500)], "")
	// If this fails, the next run begins when the lease is over.
	_ = v.home.change(ctx, "release a move", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE moves SET holder = '', expires = 0, trouble = $3 WHERE slot = $1 AND number = $2`, v.slot, v.number, text)
		return err
	})
}

// wakeMover tells the Mover of this process that there may be something to do.
func (c *Catalog) wakeMover() {
	select {
	case c.ordered <- struct{}{}:
	default:
	}
}
