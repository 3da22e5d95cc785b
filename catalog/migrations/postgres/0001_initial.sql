-- +goose Up
-- Times are microseconds since 1970. What is compared or sorted compares byte by byte (COLLATE "C"), whatever the database's
-- own collation is. Pointers, records and entries are JSON.

CREATE TABLE catalogue (
	id      TEXT NOT NULL,
	written TEXT NOT NULL DEFAULT '' -- position of the entry that was appended to the log last
);
INSERT INTO catalogue (id) VALUES (substr(replace(gen_random_uuid()::text, '-', ''), 1, 16));

-- The runs of the program that are alive; see runs.go.
CREATE TABLE runs (
	id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	expires BIGINT NOT NULL
);

CREATE TABLE sites (
	site    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	version TEXT COLLATE "C" NOT NULL,
	record  TEXT NOT NULL,
	stored  INTEGER NOT NULL -- 1 when the bucket has this version and the outbox its entry
);

CREATE TABLE hosts (
	host TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	site TEXT COLLATE "C" NOT NULL REFERENCES sites (site)
);
CREATE INDEX hosts_site ON hosts (site);

-- The head of every path that was ever published, tombstones included.
CREATE TABLE files (
	site    TEXT COLLATE "C" NOT NULL,
	path    TEXT COLLATE "C" NOT NULL,
	version TEXT COLLATE "C" NOT NULL,
	state   TEXT COLLATE "C" NOT NULL,
	etag    TEXT NOT NULL, -- of the p/ object, as the bucket gave it
	pointer TEXT NOT NULL,
	PRIMARY KEY (site, path)
);
CREATE INDEX files_live ON files (site, path) WHERE state = 'live';
CREATE INDEX files_recent ON files (version) WHERE state = 'live';

CREATE TABLE versions (
	site      TEXT COLLATE "C" NOT NULL,
	path      TEXT COLLATE "C" NOT NULL,
	version   TEXT COLLATE "C" NOT NULL,
	blob      TEXT COLLATE "C" NOT NULL, -- key in the bucket; empty in a tombstone
	pointer   TEXT NOT NULL,
	entry     TEXT NOT NULL, -- id of its log entry
	PRIMARY KEY (site, path, version)
);
CREATE INDEX versions_blob ON versions (blob) WHERE blob <> '';

CREATE TABLE reservations (
	site         TEXT COLLATE "C" NOT NULL,
	path         TEXT COLLATE "C" NOT NULL,
	version      TEXT COLLATE "C" NOT NULL,
	pointer      TEXT NOT NULL,
	upload       TEXT COLLATE "C" NOT NULL,
	prev_version TEXT COLLATE "C" NOT NULL,
	prev_etag    TEXT NOT NULL,
	holder       TEXT COLLATE "C" NOT NULL, -- the run of the program that took it
	expires      BIGINT NOT NULL,
	PRIMARY KEY (site, path)
);
CREATE INDEX reservations_upload ON reservations (upload);

CREATE TABLE uploads (
	id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	kind      TEXT COLLATE "C" NOT NULL,
	state     TEXT COLLATE "C" NOT NULL,
	site      TEXT COLLATE "C" NOT NULL,
	path      TEXT COLLATE "C" NOT NULL,
	version   TEXT COLLATE "C" NOT NULL, -- what became of it, when done
	metadata  TEXT NOT NULL, -- as the client sent it
	concat    TEXT NOT NULL, -- as the client sent it
	holder    TEXT COLLATE "C" NOT NULL,
	expires   BIGINT NOT NULL,
	fence     BIGINT NOT NULL, -- rises with every lease
	torn      INTEGER NOT NULL, -- 1 if the lease before the last ended without a release
	lessee    TEXT COLLATE "C" NOT NULL, -- the run of the program that has, or had, the lease
	leased    BIGINT NOT NULL, -- until when; 0 once released
	wanted    INTEGER NOT NULL -- 1 when another run asks for the lease
);
CREATE INDEX uploads_expires ON uploads (expires) WHERE kind <> 'streamed';
CREATE INDEX uploads_streamed ON uploads (holder) WHERE kind = 'streamed';

-- Rows are committed in another order than that of their ids; see the package comment.
CREATE TABLE outbox (
	id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	entry    TEXT NOT NULL,
	position TEXT COLLATE "C" NOT NULL DEFAULT '', -- in the log, once appended
	appended BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX outbox_pending ON outbox (id) WHERE position = '';

CREATE TABLE purges (
	id        TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- of the last of its entries
	site      TEXT COLLATE "C" NOT NULL,
	request   TEXT NOT NULL,
	created   BIGINT NOT NULL
);
CREATE INDEX purges_created ON purges (created);
