// Package purge is the ordered log of every name change, and the proof that a change has taken effect.
//
// It holds the record (Entry), the place in the log (Position), the contract of a log (Appender, Follower) and the
// Tracker that turns nodes' reports into a proof. It is not a transport: fleet/bus implements the contract over
// JetStream, purge/purgetest has the suite that every implementation must pass and an in-memory one.
//
// Life of a change: the catalogue commits it with an outbox row; the outbox appends it (Append gives its
// Position); every cache applies it in order and remembers the Position beside what it changed; nodes report how
// far they are; the Tracker answers "effective on n of m".
//
// On failure: Append is retried by the outbox with the same Entry.ID, and an implementation that has that ID
// already answers with the old position. A follower that cannot be sure to have seen every entry since its
// position gets ErrGap and must treat all it knows as unconfirmed (a soft purge of everything), never guess.
package purge
