-- +goose Up
-- Times are microseconds since 1970. Paths compare byte by byte. Pointers, records and entries are JSON.

CREATE TABLE catalogue (
	id    TEXT NOT NULL,              -- of this server
	stamp INTEGER NOT NULL DEFAULT 0, -- rises with every change of slots; 0 before the server was given its first
	epoch INTEGER NOT NULL DEFAULT 0, -- of the layout, which is the home server's; 0 before there was one
	moves INTEGER NOT NULL DEFAULT 0, -- the highest number a run of a move was given, by the home server
	written INTEGER NOT NULL DEFAULT 0 -- the row of the outbox that was appended to the log last
);
INSERT INTO catalogue (id) VALUES (lower(hex(randomblob(8))));

-- The runs of the program that are alive; see runs.go.
CREATE TABLE runs (
	id      TEXT NOT NULL PRIMARY KEY,
	expires INTEGER NOT NULL
) WITHOUT ROWID;

-- What this server may do with which slot; see slotState.
CREATE TABLE slots (
	slot  INTEGER NOT NULL PRIMARY KEY,
	state TEXT NOT NULL,
	move  INTEGER NOT NULL -- the move that set it, 0 when none did
);

-- Units of slots that are leaving, as they changed since the move began to copy; see unit.
CREATE TABLE changed (
	slot  INTEGER NOT NULL,
	kind  TEXT NOT NULL,
	a     TEXT NOT NULL,
	b     TEXT NOT NULL,
	times INTEGER NOT NULL,
	PRIMARY KEY (slot, kind, a, b)
) WITHOUT ROWID;

-- On the home server only: the servers, the layout, the moves that are under way, the sites and the purges.
CREATE TABLE servers (
	name TEXT NOT NULL PRIMARY KEY, -- by the configuration
	id   TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE layout (
	slot   INTEGER NOT NULL PRIMARY KEY,
	server TEXT NOT NULL
);
CREATE INDEX layout_server ON layout (server);

CREATE TABLE moves (
	slot    INTEGER NOT NULL PRIMARY KEY,
	number  INTEGER NOT NULL, -- rises with every run that takes the move on
	source  TEXT NOT NULL,
	target  TEXT NOT NULL,
	step    TEXT NOT NULL,
	copied  INTEGER NOT NULL, -- rows
	tries   INTEGER NOT NULL,
	trouble TEXT NOT NULL,    -- why the last try ended, for people
	holder  TEXT NOT NULL,
	expires INTEGER NOT NULL,
	ordered INTEGER NOT NULL
);

CREATE TABLE sites (
	site    TEXT NOT NULL PRIMARY KEY,
	version TEXT NOT NULL,
	record  TEXT NOT NULL,
	stored  INTEGER NOT NULL -- 1 when the bucket has this version and the outbox its entry
) WITHOUT ROWID;

CREATE TABLE hosts (
	host TEXT NOT NULL PRIMARY KEY,
	site TEXT NOT NULL REFERENCES sites (site)
) WITHOUT ROWID;

-- The head of every path that was ever published, tombstones included. The slot follows from site and path. Files and their
-- versions lie in the order of paths, as they are listed; an index in the order of slots finds those that move. In the other
-- tables the slot leads the key.
CREATE TABLE files (
	slot    INTEGER NOT NULL,
	site    TEXT NOT NULL,
	path    TEXT NOT NULL,
	version TEXT NOT NULL,
	state   TEXT NOT NULL,
	etag    TEXT NOT NULL, -- of the p/ object, as the bucket gave it
	pointer TEXT NOT NULL,
	PRIMARY KEY (site, path, slot)
) WITHOUT ROWID;
CREATE INDEX files_slot ON files (slot, site, path);
CREATE INDEX files_live ON files (site, path) WHERE state = 'live';
CREATE INDEX files_recent ON files (version) WHERE state = 'live';

CREATE TABLE versions (
	slot      INTEGER NOT NULL,
	site      TEXT NOT NULL,
	path      TEXT NOT NULL,
	version   TEXT NOT NULL,
	blob      TEXT NOT NULL, -- key in the bucket; empty in a tombstone
	size      INTEGER NOT NULL,
	pointer   TEXT NOT NULL,
	entry     TEXT NOT NULL, -- id of its log entry
	PRIMARY KEY (site, path, version, slot)
) WITHOUT ROWID;
CREATE INDEX versions_slot ON versions (slot, site, path, version);
CREATE INDEX versions_blob ON versions (blob) WHERE blob <> '';

CREATE TABLE reservations (
	slot         INTEGER NOT NULL,
	site         TEXT NOT NULL,
	path         TEXT NOT NULL,
	version      TEXT NOT NULL,
	pointer      TEXT NOT NULL,
	upload       TEXT NOT NULL,
	prev_version TEXT NOT NULL,
	prev_etag    TEXT NOT NULL,
	holder       TEXT NOT NULL, -- the run of the program that took it
	expires      INTEGER NOT NULL,
	begun         TEXT NOT NULL, -- who ordered the change
	charged_bytes INTEGER NOT NULL, -- what site_usage holds for it
	charged_files INTEGER NOT NULL,
	PRIMARY KEY (slot, site, path)
) WITHOUT ROWID;
CREATE INDEX reservations_upload ON reservations (upload);

-- Objects of the bucket with bytes; see blobs.go. A blob, its references and its claims are in the slot of its hash.
CREATE TABLE blobs (
	slot  INTEGER NOT NULL,
	hash  TEXT NOT NULL,
	blob  TEXT NOT NULL, -- key in the bucket
	root  TEXT NOT NULL,
	size  INTEGER NOT NULL,
	state TEXT NOT NULL,
	since INTEGER NOT NULL, -- of the state; 0 if it is live
	PRIMARY KEY (slot, hash, blob)
) WITHOUT ROWID;
CREATE INDEX blobs_blob ON blobs (blob);
CREATE INDEX blobs_waning ON blobs (state, since) WHERE state <> 'live';

CREATE TABLE refs (
	slot    INTEGER NOT NULL,
	hash    TEXT NOT NULL,
	blob    TEXT NOT NULL,
	site    TEXT NOT NULL,
	path    TEXT NOT NULL,
	version TEXT NOT NULL,
	sure    INTEGER NOT NULL, -- 1 when the version is known to be recorded
	since   INTEGER NOT NULL,
	PRIMARY KEY (slot, hash, site, path, version, blob)
) WITHOUT ROWID;
CREATE INDEX refs_unsure ON refs (since) WHERE sure = 0;

CREATE TABLE claims (
	slot    INTEGER NOT NULL,
	hash    TEXT NOT NULL,
	holder  TEXT NOT NULL, -- random, of one claim
	blob    TEXT NOT NULL,
	expires INTEGER NOT NULL,
	PRIMARY KEY (slot, hash, holder)
) WITHOUT ROWID;
CREATE INDEX claims_expires ON claims (expires);

-- Versions that were removed and have left traces.
CREATE TABLE removals (
	slot    INTEGER NOT NULL,
	site    TEXT NOT NULL,
	path    TEXT NOT NULL,
	version TEXT NOT NULL,
	pointer TEXT NOT NULL,
	erase   INTEGER NOT NULL, -- 1 when the bytes are to be destroyed everywhere
	since   INTEGER NOT NULL,
	PRIMARY KEY (slot, site, path, version)
) WITHOUT ROWID;
CREATE INDEX removals_since ON removals (since);

-- Uploads are in the slot of their path, which their id begins with.
CREATE TABLE uploads (
	slot      INTEGER NOT NULL,
	id        TEXT NOT NULL,
	kind      TEXT NOT NULL,
	state     TEXT NOT NULL,
	site      TEXT NOT NULL,
	path      TEXT NOT NULL,
	version   TEXT NOT NULL, -- what became of it, when done
	metadata  TEXT NOT NULL, -- as the client sent it
	concat    TEXT NOT NULL, -- as the client sent it
	holder    TEXT NOT NULL,
	expires   INTEGER NOT NULL,
	fence     INTEGER NOT NULL, -- rises with every lease
	torn      INTEGER NOT NULL, -- 1 if the lease before the last ended without a release
	lessee    TEXT NOT NULL,    -- the run of the program that has, or had, the lease
	leased    INTEGER NOT NULL, -- until when; 0 once released
	wanted    INTEGER NOT NULL, -- 1 when another run asks for the lease
	owner     TEXT NOT NULL, -- id of the API key that began it
	PRIMARY KEY (slot, id)
) WITHOUT ROWID;
CREATE INDEX uploads_expires ON uploads (expires) WHERE kind <> 'streamed';
CREATE INDEX uploads_streamed ON uploads (holder) WHERE kind = 'streamed';

-- Who watches which bucket site, and how far the watcher is.
CREATE TABLE watches (
	site   TEXT NOT NULL PRIMARY KEY,
	holder TEXT NOT NULL, -- the node that watches
	until  INTEGER NOT NULL, -- when another one may
	state  TEXT NOT NULL, -- JSON of package origin/watch
	event  INTEGER NOT NULL, -- when the last notification came
	source TEXT NOT NULL -- and how
) WITHOUT ROWID;

CREATE TABLE outbox (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	slot     INTEGER NOT NULL, -- of the path that changed; -1 for entries about more than one path
	entry    TEXT NOT NULL,
	position TEXT NOT NULL DEFAULT '', -- in the log, once appended
	appended INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX outbox_pending ON outbox (id) WHERE position = '';

CREATE TABLE purges (
	id        TEXT NOT NULL PRIMARY KEY, -- of the last of its entries
	site      TEXT NOT NULL,
	request   TEXT NOT NULL,
	created   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX purges_created ON purges (created, id);
CREATE INDEX purges_site ON purges (site, created, id);

-- What sites may use; 0 is no limit. On the home server.
CREATE TABLE site_quota (
	site      TEXT NOT NULL PRIMARY KEY,
	max_bytes INTEGER NOT NULL,
	max_files INTEGER NOT NULL,
	max_file  INTEGER NOT NULL, -- bytes of one file
	max_form  INTEGER NOT NULL  -- files of one form
) WITHOUT ROWID;

-- What sites use, as far as this server was told, and its share of their quotas. Before anybody has divided, the share is 0.
CREATE TABLE site_usage (
	site        TEXT NOT NULL PRIMARY KEY,
	bytes       INTEGER NOT NULL,
	files       INTEGER NOT NULL,
	share_bytes INTEGER, -- of the quota; NULL is no limit
	share_files INTEGER
) WITHOUT ROWID;

CREATE TABLE audit (
	id       TEXT NOT NULL PRIMARY KEY, -- sorts by time
	at       INTEGER NOT NULL,
	key_id   TEXT NOT NULL,
	key_name TEXT NOT NULL,
	method   TEXT NOT NULL,
	request  TEXT NOT NULL,
	remote   TEXT NOT NULL,
	action   TEXT NOT NULL,
	site     TEXT NOT NULL,
	object   TEXT NOT NULL,
	outcome  TEXT NOT NULL,
	detail   TEXT NOT NULL,
	once     TEXT NOT NULL -- the idempotency record of its request
) WITHOUT ROWID;
CREATE INDEX audit_once ON audit (once, id) WHERE once <> '';
CREATE INDEX audit_site ON audit (site, id);
CREATE INDEX audit_key ON audit (key_id, id);

-- Requests that may be sent again, by a hash of API key and idempotency key.
CREATE TABLE idempotency (
	id          TEXT NOT NULL PRIMARY KEY,
	owner       TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	state       TEXT NOT NULL,
	series      TEXT NOT NULL, -- names it in the audit log
	run         TEXT NOT NULL,
	holder      TEXT NOT NULL,
	created     INTEGER NOT NULL,
	ends        INTEGER NOT NULL, -- when a running one counts as abandoned
	status      INTEGER NOT NULL,
	header      TEXT NOT NULL,
	body        TEXT NOT NULL,
	body_hash   TEXT NOT NULL,
	body_read   INTEGER NOT NULL,
	body_ended  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created);
CREATE INDEX idempotency_owner ON idempotency (owner, created);

CREATE TABLE api_keys (
	id     TEXT NOT NULL PRIMARY KEY,
	added  INTEGER NOT NULL, -- number of the change that added it
	record TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE api_key_changes (
	changes INTEGER NOT NULL
);
INSERT INTO api_key_changes (changes) VALUES (0);

-- When API keys were last used, those of a file and of the environment too.
CREATE TABLE api_key_uses (
	id   TEXT NOT NULL PRIMARY KEY,
	used INTEGER NOT NULL
) WITHOUT ROWID;
