package contract

import (
	"errors"
	"fmt"
	"sync"

	"perigee/origin"
)

const oneNode = "Two API nodes may not publish the same path at once: only the catalogue's reservations keep them apart, and a node " +
	"that was cut off for longer than one lasts could put an older pointer over a newer one. Run one API node."

var conditionChecks = []Check{
	{"conditional put", Vital, "Every pointer is written on a condition, so nothing can be published. " + useless, conditionalPut},
	{"conditional put is refused", Limited, oneNode, conditionalRefused},
	{"race of conditional puts", Limited, oneNode, race},
	{"conditional put of a large body", Limited, "A refusal may look like an outage, and publishers are asked to try again.", conditionalLarge},
	{"conditional get", Limited, "Edges fetch pointers whole when they ask whether one has changed, and a file of a bucket site that is " +
		"replaced while it is fetched can come out mixed. Published files are checked by their hashes.", conditionalGet},
}

// noETag is an ETag that no object here has.
const noETag = "0123456789abcdef0123456789abcdef"

// conditionalPut only has conditions that hold.
func conditionalPut(t *trial) {
	key := t.key("c")
	one, err := t.writer.Put(t.ctx, key, []byte("one"), origin.PutOptions{IfNoneMatch: true})
	t.ok(err)
	two, err := t.writer.Put(t.ctx, key, []byte("two"), origin.PutOptions{IfMatch: one})
	t.ok(err)
	t.holds(key, []byte("two"))
	info, err := t.reader.Head(t.ctx, key)
	t.ok(err)
	if info.ETag != two {
		t.failf("HEAD says ETag %s, PUT said %s", info.ETag, two)
	}
}

func conditionalRefused(t *trial) {
	key := t.key("c")
	_, err := t.writer.Put(t.ctx, key, []byte("zero"), origin.PutOptions{IfMatch: noETag})
	t.is(err, origin.ErrPrecondition)
	t.absent(key)
	one := t.put(key, []byte("one"))
	_, err = t.writer.Put(t.ctx, key, []byte("other"), origin.PutOptions{IfNoneMatch: true})
	t.is(err, origin.ErrPrecondition)
	t.holds(key, []byte("one"))
	t.put(key, []byte("two"))
	_, err = t.writer.Put(t.ctx, key, []byte("three"), origin.PutOptions{IfMatch: one})
	t.is(err, origin.ErrPrecondition)
	t.holds(key, []byte("two"))
}

func race(t *trial) {
	const racers = 32
	key, etag := t.key("race"), ""
	for round := range 5 { // the first creates, the others replace
		o := origin.PutOptions{IfMatch: etag, IfNoneMatch: etag == ""}
		etags, errs := make([]string, racers), make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				etags[i], errs[i] = t.writer.Put(t.ctx, key, blob(fmt.Sprint(round, i), 2000), o)
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.failf("of %d that wrote at once on the same condition, two won", racers)
			case err == nil:
				winner = i
			default:
				t.is(err, origin.ErrPrecondition)
			}
		}
		if winner < 0 {
			t.failf("of %d that wrote at once on a condition that held, nobody won", racers)
		}
		t.holds(key, blob(fmt.Sprint(round, winner), 2000))
		etag = etags[winner]
	}
}

// conditionalLarge finds stores that answer 412 before they read the body and then break the connection.
func conditionalLarge(t *trial) {
	key := t.key("large")
	t.put(key, []byte("first"))
	for i, size := range []int{300 << 10, 1 << 20, 4 << 20, 8 << 20} {
		_, err := t.writer.Put(t.ctx, key, blob(fmt.Sprint(i), size), origin.PutOptions{IfNoneMatch: true})
		// A store that refuses early closes a connection on which the body is still sent. Whether its answer is read before depends on the
		// moment; one that can be had at all is had soon.
		for tries := 0; errors.Is(err, origin.ErrUnknown) && tries < 4; tries++ {
			_, err = t.writer.Put(t.ctx, key, blob(fmt.Sprint(i), size), origin.PutOptions{IfNoneMatch: true})
		}
		t.is(err, origin.ErrPrecondition)
	}
	t.holds(key, []byte("first"))
}

func conditionalGet(t *trial) {
	key := t.key("g")
	one := t.put(key, []byte("one"))
	_, _, err := t.get(t.ctx, key, origin.GetOptions{IfNoneMatch: one})
	t.is(err, origin.ErrNotModified)
	_, _, err = t.get(t.ctx, key, origin.GetOptions{IfMatch: one})
	t.ok(err)
	t.put(key, []byte("two"))
	_, _, err = t.get(t.ctx, key, origin.GetOptions{IfMatch: one})
	t.is(err, origin.ErrPrecondition)
	_, _, err = t.get(t.ctx, key, origin.GetOptions{IfMatch: one, Offset: 1, Length: 1})
	t.is(err, origin.ErrPrecondition)
	got, info, err := t.get(t.ctx, key, origin.GetOptions{IfNoneMatch: one})
	t.ok(err)
	if string(got) != "two" || info.ETag == one {
		t.failf("got %q with the ETag %s after it was replaced", got, info.ETag)
	}
}
