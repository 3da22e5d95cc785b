package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"perigee/client"
	"perigee/object"
)

// catalogCommands are about where the rows of the catalogue are; docs/catalogue-sharding.md.
type catalogCommands struct {
	Layout    catalogLayoutCmd    `cmd:"" default:"withargs" help:"Show the servers of the catalogue, how many slots each has, and what is being moved."`
	Move      catalogMoveCmd      `cmd:"" help:"Move slots to another server, while all are in use."`
	Rebalance catalogRebalanceCmd `cmd:"" help:"Give all servers as many slots."`
	Cancel    catalogCancelCmd    `cmd:"" help:"Give moves up that have not taken effect yet."`
}

type catalogLayoutCmd struct{ remote }

// Run shows the layout.
func (c *catalogLayoutCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	l, err := cl.Catalogue(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.printJSON(l)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tSLOTS\tSTATE\tID")
	for _, s := range l.Servers {
		state := "up"
		if !s.Up {
			state = "does not answer"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", s.Name, s.Slots, state, orDash(s.ID))
	}
	if len(l.Moves) > 0 {
		fmt.Fprintf(w, "\nSLOT\tFROM\tTO\tSTEP\tROWS\tTRIES\tTROUBLE\n")
	}
	for _, m := range l.Moves {
		step := m.Step
		if !m.Running {
			step += ", waiting"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%d\t%s\n", m.Slot, m.From, m.To, step, m.Copied, m.Tries, orDash(m.Trouble))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if l.Waiting > len(l.Moves) {
		fmt.Fprintf(a.stdout, "and %d more\n", l.Waiting-len(l.Moves))
	}
	return nil
}

// waiting is how a command waits for moves.
type waiting struct {
	NoWait bool `help:"Order it and return; perigee catalog layout tells how far it is."`
}

// catalogPoll is how often moves under way are asked for.
const catalogPoll = 500 * time.Millisecond

// await shows how far the moves are until none is left.
func (c waiting) await(a *app, cl *client.Client, ordered int) error {
	if c.NoWait {
		if a.JSON {
			return a.printJSON(map[string]int{"ordered": ordered})
		}
		fmt.Fprintf(a.stdout, "%s ordered\n", plural(ordered, "move"))
		return nil
	}
	told := -1
	for {
		l, err := cl.Catalogue(a.ctx)
		if err != nil {
			return err
		}
		if l.Waiting != told && a.JSON {
			if err := a.printJSON(map[string]int{"waiting": l.Waiting}); err != nil {
				return err
			}
		} else if l.Waiting != told {
			fmt.Fprintf(a.stdout, "%s to go%s\n", plural(l.Waiting, "move"), troubleOf(l))
		}
		if told = l.Waiting; told == 0 {
			return nil
		}
		if err := a.sleep(a.ctx, catalogPoll); err != nil {
			return err
		}
	}
}

// troubleOf says why the first move that has trouble does not go on.
func troubleOf(l client.Catalogue) string {
	for _, m := range l.Moves {
		if m.Trouble != "" {
			return fmt.Sprintf("; slot %d: %s", m.Slot, m.Trouble)
		}
	}
	return ""
}

type catalogMoveCmd struct {
	remote
	waiting
	Slots []string `arg:"" name:"slot" help:"Slots, 0 to 4095, and ranges of them such as 200-299."`
	To    string   `required:"" placeholder:"SERVER" help:"The server they go to."`
}

// Run orders the moves and waits for them.
func (c *catalogMoveCmd) Run(a *app) error {
	slots, err := parseSlots(c.Slots)
	if err != nil {
		return err
	}
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.MoveSlots(a.ctx, slots, c.To); err != nil {
		return err
	}
	return c.await(a, cl, len(slots))
}

// parseSlots reads numbers and ranges.
func parseSlots(args []string) ([]object.Slot, error) {
	var out []object.Slot
	seen := map[int]bool{}
	for _, arg := range args {
		first, last, isRange := strings.Cut(arg, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if errors.Join(err1, err2) != nil || from < 0 || to >= object.Slots || from > to {
			return nil, fmt.Errorf("%q is neither a slot, 0 to %d, nor a range of them such as 200-299", arg, object.Slots-1)
		}
		for s := from; s <= to; s++ {
			if !seen[s] {
				seen[s] = true
				out = append(out, object.Slot(s))
			}
		}
	}
	return out, nil
}

type catalogRebalanceCmd struct {
	remote
	waiting
}

// Run orders the moves and waits for them.
func (c *catalogRebalanceCmd) Run(a *app) error {
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	n, err := cl.Rebalance(a.ctx)
	if err != nil {
		return err
	}
	return c.await(a, cl, n)
}

type catalogCancelCmd struct {
	remote
	Slots []string `arg:"" name:"slot" help:"Slots, and ranges of them."`
}

// Run cancels moves.
func (c *catalogCancelCmd) Run(a *app) error {
	slots, err := parseSlots(c.Slots)
	if err != nil {
		return err
	}
	cl, err := c.connect(a)
	if err != nil {
		return err
	}
	defer cl.Close()
	var errs []error
	for _, s := range slots {
		errs = append(errs, cl.CancelMove(a.ctx, s))
	}
	return errors.Join(errs...)
}
