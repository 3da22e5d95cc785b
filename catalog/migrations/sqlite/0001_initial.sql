-- +goose Up
-- Times are microseconds since 1970. Paths compare byte by byte. Pointers, records and entries are JSON.

CREATE TABLE catalogue (
	id TEXT NOT NULL
);
INSERT INTO catalogue (id) VALUES (lower(hex(randomblob(8))));

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

-- The head of every path that was ever published, tombstones included.
CREATE TABLE files (
	site    TEXT NOT NULL,
	path    TEXT NOT NULL,
	version TEXT NOT NULL,
	state   TEXT NOT NULL,
	etag    TEXT NOT NULL, -- of the p/ object, as the bucket gave it
	pointer TEXT NOT NULL,
	PRIMARY KEY (site, path)
) WITHOUT ROWID;
CREATE INDEX files_live ON files (site, path) WHERE state = 'live';
CREATE INDEX files_recent ON files (version) WHERE state = 'live';

CREATE TABLE versions (
	site      TEXT NOT NULL,
	path      TEXT NOT NULL,
	version   TEXT NOT NULL,
	blob      TEXT NOT NULL, -- key in the bucket; empty in a tombstone
	pointer   TEXT NOT NULL,
	entry     TEXT NOT NULL, -- id of its log entry
	PRIMARY KEY (site, path, version)
) WITHOUT ROWID;
CREATE INDEX versions_blob ON versions (blob) WHERE blob <> '';

CREATE TABLE reservations (
	site         TEXT NOT NULL,
	path         TEXT NOT NULL,
	version      TEXT NOT NULL,
	pointer      TEXT NOT NULL,
	upload       TEXT NOT NULL,
	prev_version TEXT NOT NULL,
	prev_etag    TEXT NOT NULL,
	holder       TEXT NOT NULL, -- the run of the program that took it
	expires      INTEGER NOT NULL,
	PRIMARY KEY (site, path)
) WITHOUT ROWID;
CREATE INDEX reservations_upload ON reservations (upload);

-- Objects of the bucket with bytes; see blobs.go. A blob, its references and its claims are on the server of its hash.
CREATE TABLE blobs (
	blob  TEXT NOT NULL PRIMARY KEY, -- key in the bucket
	hash  TEXT NOT NULL,
	root  TEXT NOT NULL,
	size  INTEGER NOT NULL,
	state TEXT NOT NULL,
	since INTEGER NOT NULL -- of the state; 0 if it is live
) WITHOUT ROWID;
CREATE INDEX blobs_waning ON blobs (state, since) WHERE state <> 'live';

CREATE TABLE refs (
	blob    TEXT NOT NULL,
	site    TEXT NOT NULL,
	path    TEXT NOT NULL,
	version TEXT NOT NULL,
	hash    TEXT NOT NULL,
	sure    INTEGER NOT NULL, -- 1 when the version is known to be recorded
	since   INTEGER NOT NULL,
	PRIMARY KEY (blob, site, path, version)
) WITHOUT ROWID;
CREATE INDEX refs_hash ON refs (hash, site, path, version);
CREATE INDEX refs_unsure ON refs (since) WHERE sure = 0;

CREATE TABLE claims (
	holder  TEXT NOT NULL PRIMARY KEY, -- random, of one claim
	blob    TEXT NOT NULL,
	expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_blob ON claims (blob);
CREATE INDEX claims_expires ON claims (expires);

-- Versions that were removed and have left traces; on the server of the path.
CREATE TABLE removals (
	site    TEXT NOT NULL,
	path    TEXT NOT NULL,
	version TEXT NOT NULL,
	pointer TEXT NOT NULL,
	erase   INTEGER NOT NULL, -- 1 when the bytes are to be destroyed everywhere
	since   INTEGER NOT NULL,
	PRIMARY KEY (site, path, version)
) WITHOUT ROWID;
CREATE INDEX removals_since ON removals (since, site, path, version);

CREATE TABLE uploads (
	id        TEXT NOT NULL PRIMARY KEY,
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
	wanted    INTEGER NOT NULL  -- 1 when another run asks for the lease
) WITHOUT ROWID;
CREATE INDEX uploads_expires ON uploads (expires) WHERE kind <> 'streamed';
CREATE INDEX uploads_streamed ON uploads (holder) WHERE kind = 'streamed';

CREATE TABLE outbox (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
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
CREATE INDEX purges_created ON purges (created);
