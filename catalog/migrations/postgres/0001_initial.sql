-- +goose Up
-- The tables of migrations/sqlite. Times are microseconds since 1970. What is compared or sorted compares byte by byte
-- (COLLATE "C"), whatever the database's own collation is. Pointers, records and entries are JSON.

CREATE TABLE catalogue (
	id    TEXT COLLATE "C" NOT NULL,              -- of this server
	stamp BIGINT NOT NULL DEFAULT 0, -- rises with every change of slots; 0 before the server was given its first
	epoch BIGINT NOT NULL DEFAULT 0, -- of the layout, which is the home server's; 0 before there was one
	moves BIGINT NOT NULL DEFAULT 0, -- the highest number a run of a move was given, by the home server
	written BIGINT NOT NULL DEFAULT 0 -- the row of the outbox that was appended to the log last
);
INSERT INTO catalogue (id) VALUES (substr(replace(gen_random_uuid()::text, '-', ''), 1, 16));

-- The runs of the program that are alive; see runs.go.
CREATE TABLE runs (
	id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	expires BIGINT NOT NULL
);

-- What this server may do with which slot; see slotState.
CREATE TABLE slots (
	slot  BIGINT NOT NULL PRIMARY KEY,
	state TEXT COLLATE "C" NOT NULL,
	move  BIGINT NOT NULL -- the move that set it, 0 when none did
);

-- Units of slots that are leaving, as they changed since the move began to copy; see unit.
CREATE TABLE changed (
	slot  BIGINT NOT NULL,
	kind  TEXT COLLATE "C" NOT NULL,
	a     TEXT COLLATE "C" NOT NULL,
	b     TEXT COLLATE "C" NOT NULL,
	times BIGINT NOT NULL,
	PRIMARY KEY (slot, kind, a, b)
);

-- On the home server only: the servers, the layout, the moves that are under way, the sites and the purges.
CREATE TABLE servers (
	name TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- by the configuration
	id   TEXT COLLATE "C" NOT NULL
);

CREATE TABLE layout (
	slot   BIGINT NOT NULL PRIMARY KEY,
	server TEXT COLLATE "C" NOT NULL
);
CREATE INDEX layout_server ON layout (server);

CREATE TABLE moves (
	slot    BIGINT NOT NULL PRIMARY KEY,
	number  BIGINT NOT NULL, -- rises with every run that takes the move on
	source  TEXT NOT NULL,
	target  TEXT NOT NULL,
	step    TEXT NOT NULL,
	copied  BIGINT NOT NULL, -- rows
	tries   BIGINT NOT NULL,
	trouble TEXT NOT NULL,    -- why the last try ended, for people
	holder  TEXT COLLATE "C" NOT NULL,
	expires BIGINT NOT NULL,
	ordered BIGINT NOT NULL
);

CREATE TABLE sites (
	site    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	version TEXT COLLATE "C" NOT NULL,
	record  TEXT NOT NULL,
	stored  BIGINT NOT NULL -- 1 when the bucket has this version and the outbox its entry
);

CREATE TABLE hosts (
	host TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	site TEXT COLLATE "C" NOT NULL REFERENCES sites (site)
);

-- The head of every path that was ever published, tombstones included. The slot follows from site and path, and is in the keys
-- because the tables are partitioned by it; an index in the order of slots finds the rows that move. Rows lie as they were
-- written, which for a folder that was published at once is the order in which it is listed; the room that is left in each page
-- (fillfactor) is for rows that are written anew, so that they stay where they were.
CREATE TABLE files (
	slot    BIGINT NOT NULL,
	site    TEXT COLLATE "C" NOT NULL,
	path    TEXT COLLATE "C" NOT NULL,
	version TEXT COLLATE "C" NOT NULL,
	state   TEXT COLLATE "C" NOT NULL,
	etag    TEXT NOT NULL, -- of the p/ object, as the bucket gave it
	pointer TEXT NOT NULL,
	PRIMARY KEY (site, path, slot)
) PARTITION BY HASH (slot);
CREATE TABLE files_0 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 0) WITH (fillfactor = 85);
CREATE TABLE files_1 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 1) WITH (fillfactor = 85);
CREATE TABLE files_2 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 2) WITH (fillfactor = 85);
CREATE TABLE files_3 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 3) WITH (fillfactor = 85);
CREATE TABLE files_4 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 4) WITH (fillfactor = 85);
CREATE TABLE files_5 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 5) WITH (fillfactor = 85);
CREATE TABLE files_6 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 6) WITH (fillfactor = 85);
CREATE TABLE files_7 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 7) WITH (fillfactor = 85);
CREATE TABLE files_8 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 8) WITH (fillfactor = 85);
CREATE TABLE files_9 PARTITION OF files FOR VALUES WITH (MODULUS 10, REMAINDER 9) WITH (fillfactor = 85);
CREATE INDEX files_slot ON files (slot, site, path);
CREATE INDEX files_live ON files (site, path) WHERE state = 'live';
CREATE INDEX files_recent ON files (version) WHERE state = 'live';

CREATE TABLE versions (
	slot      BIGINT NOT NULL,
	site      TEXT COLLATE "C" NOT NULL,
	path      TEXT COLLATE "C" NOT NULL,
	version   TEXT COLLATE "C" NOT NULL,
	blob      TEXT COLLATE "C" NOT NULL, -- key in the bucket; empty in a tombstone
	size      BIGINT NOT NULL,
	pointer   TEXT NOT NULL,
	entry     TEXT NOT NULL, -- id of its log entry
	PRIMARY KEY (site, path, version, slot)
) PARTITION BY HASH (slot);
CREATE TABLE versions_0 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 0);
CREATE TABLE versions_1 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 1);
CREATE TABLE versions_2 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 2);
CREATE TABLE versions_3 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 3);
CREATE TABLE versions_4 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 4);
CREATE TABLE versions_5 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 5);
CREATE TABLE versions_6 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 6);
CREATE TABLE versions_7 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 7);
CREATE TABLE versions_8 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 8);
CREATE TABLE versions_9 PARTITION OF versions FOR VALUES WITH (MODULUS 10, REMAINDER 9);
CREATE INDEX versions_slot ON versions (slot, site, path, version);
CREATE INDEX versions_blob ON versions (blob) WHERE blob <> '';

CREATE TABLE reservations (
	slot         BIGINT NOT NULL,
	site         TEXT COLLATE "C" NOT NULL,
	path         TEXT COLLATE "C" NOT NULL,
	version      TEXT COLLATE "C" NOT NULL,
	pointer      TEXT NOT NULL,
	upload       TEXT COLLATE "C" NOT NULL,
	prev_version TEXT COLLATE "C" NOT NULL,
	prev_etag    TEXT NOT NULL,
	holder       TEXT COLLATE "C" NOT NULL, -- the run of the program that took it
	expires      BIGINT NOT NULL,
	begun         TEXT NOT NULL, -- who ordered the change
	charged_bytes BIGINT NOT NULL, -- what site_usage holds for it
	charged_files BIGINT NOT NULL,
	PRIMARY KEY (slot, site, path)
);
CREATE INDEX reservations_upload ON reservations (upload);

-- Objects of the bucket with bytes; see blobs.go. A blob, its references and its claims are in the slot of its hash.
CREATE TABLE blobs (
	slot  BIGINT NOT NULL,
	hash  TEXT COLLATE "C" NOT NULL,
	blob  TEXT COLLATE "C" NOT NULL, -- key in the bucket
	root  TEXT NOT NULL,
	size  BIGINT NOT NULL,
	state TEXT COLLATE "C" NOT NULL,
	since BIGINT NOT NULL, -- of the state; 0 if it is live
	PRIMARY KEY (slot, hash, blob)
);
CREATE INDEX blobs_blob ON blobs (blob);
CREATE INDEX blobs_waning ON blobs (state, since) WHERE state <> 'live';

CREATE TABLE refs (
	slot    BIGINT NOT NULL,
	hash    TEXT COLLATE "C" NOT NULL,
	blob    TEXT COLLATE "C" NOT NULL,
	site    TEXT COLLATE "C" NOT NULL,
	path    TEXT COLLATE "C" NOT NULL,
	version TEXT COLLATE "C" NOT NULL,
	sure    BIGINT NOT NULL, -- 1 when the version is known to be recorded
	since   BIGINT NOT NULL,
	PRIMARY KEY (slot, hash, site, path, version, blob)
);
CREATE INDEX refs_unsure ON refs (since) WHERE sure = 0;

CREATE TABLE claims (
	slot    BIGINT NOT NULL,
	hash    TEXT COLLATE "C" NOT NULL,
	holder  TEXT COLLATE "C" NOT NULL, -- random, of one claim
	blob    TEXT COLLATE "C" NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (slot, hash, holder)
);
CREATE INDEX claims_expires ON claims (expires);

-- Versions that were removed and have left traces.
CREATE TABLE removals (
	slot    BIGINT NOT NULL,
	site    TEXT COLLATE "C" NOT NULL,
	path    TEXT COLLATE "C" NOT NULL,
	version TEXT COLLATE "C" NOT NULL,
	pointer TEXT NOT NULL,
	erase   BIGINT NOT NULL, -- 1 when the bytes are to be destroyed everywhere
	since   BIGINT NOT NULL,
	PRIMARY KEY (slot, site, path, version)
);
CREATE INDEX removals_since ON removals (since);

-- Uploads are in the slot of their path, which their id begins with.
CREATE TABLE uploads (
	slot      BIGINT NOT NULL,
	id        TEXT COLLATE "C" NOT NULL,
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
	torn      BIGINT NOT NULL, -- 1 if the lease before the last ended without a release
	lessee    TEXT COLLATE "C" NOT NULL,    -- the run of the program that has, or had, the lease
	leased    BIGINT NOT NULL, -- until when; 0 once released
	wanted    BIGINT NOT NULL, -- 1 when another run asks for the lease
	owner     TEXT COLLATE "C" NOT NULL, -- id of the API key that began it
	PRIMARY KEY (slot, id)
);
CREATE INDEX uploads_expires ON uploads (expires) WHERE kind <> 'streamed';
CREATE INDEX uploads_streamed ON uploads (holder) WHERE kind = 'streamed';

-- Who watches which bucket site, and how far the watcher is.
CREATE TABLE watches (
	site   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	holder TEXT COLLATE "C" NOT NULL, -- the node that watches
	until  BIGINT NOT NULL, -- when another one may
	state  TEXT NOT NULL, -- JSON of package origin/watch
	event  BIGINT NOT NULL, -- when the last notification came
	source TEXT NOT NULL -- and how
);

CREATE TABLE outbox (
	id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	slot     BIGINT NOT NULL, -- of the path that changed; -1 for entries about more than one path
	entry    TEXT NOT NULL,
	position TEXT NOT NULL DEFAULT '', -- in the log, once appended
	appended BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX outbox_pending ON outbox (id) WHERE position = '';

CREATE TABLE purges (
	id        TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- of the last of its entries
	site      TEXT COLLATE "C" NOT NULL,
	request   TEXT NOT NULL,
	created   BIGINT NOT NULL
);
CREATE INDEX hosts_site ON hosts (site);
CREATE INDEX purges_created ON purges (created, id);
CREATE INDEX purges_site ON purges (site, created, id);

-- What sites may use; 0 is no limit. On the home server.
CREATE TABLE site_quota (
	site      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	max_bytes BIGINT NOT NULL,
	max_files BIGINT NOT NULL,
	max_file  BIGINT NOT NULL, -- bytes of one file
	max_form  BIGINT NOT NULL  -- files of one form
);

-- What sites use, as far as this server was told, and its share of their quotas. Before anybody has divided, the share is 0.
CREATE TABLE site_usage (
	site        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	bytes       BIGINT NOT NULL,
	files       BIGINT NOT NULL,
	share_bytes BIGINT, -- of the quota; NULL is no limit
	share_files BIGINT
);

CREATE TABLE audit (
	id       TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- sorts by time
	at       BIGINT NOT NULL,
	key_id   TEXT COLLATE "C" NOT NULL,
	key_name TEXT COLLATE "C" NOT NULL,
	method   TEXT COLLATE "C" NOT NULL,
	request  TEXT COLLATE "C" NOT NULL,
	remote   TEXT COLLATE "C" NOT NULL,
	action   TEXT COLLATE "C" NOT NULL,
	site     TEXT COLLATE "C" NOT NULL,
	object   TEXT COLLATE "C" NOT NULL,
	outcome  TEXT COLLATE "C" NOT NULL,
	detail   TEXT COLLATE "C" NOT NULL,
	once     TEXT COLLATE "C" NOT NULL -- the idempotency record of its request
);
CREATE INDEX audit_once ON audit (once, id) WHERE once <> '';
CREATE INDEX audit_site ON audit (site, id);
CREATE INDEX audit_key ON audit (key_id, id);

-- Requests that may be sent again, by a hash of API key and idempotency key.
CREATE TABLE idempotency (
	id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	owner       TEXT COLLATE "C" NOT NULL,
	fingerprint TEXT COLLATE "C" NOT NULL,
	state       TEXT COLLATE "C" NOT NULL,
	series      TEXT COLLATE "C" NOT NULL, -- names it in the audit log
	run         TEXT COLLATE "C" NOT NULL,
	holder      TEXT COLLATE "C" NOT NULL,
	created     BIGINT NOT NULL,
	ends        BIGINT NOT NULL, -- when a running one counts as abandoned
	status      BIGINT NOT NULL,
	header      TEXT COLLATE "C" NOT NULL,
	body        TEXT COLLATE "C" NOT NULL,
	body_hash   TEXT COLLATE "C" NOT NULL,
	body_read   BIGINT NOT NULL,
	body_ended  BIGINT NOT NULL
);
CREATE INDEX idempotency_created ON idempotency (created);
CREATE INDEX idempotency_owner ON idempotency (owner, created);

CREATE TABLE api_keys (
	id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	added  BIGINT NOT NULL, -- number of the change that added it
	record TEXT COLLATE "C" NOT NULL
);

CREATE TABLE api_key_changes (
	changes BIGINT NOT NULL
);
INSERT INTO api_key_changes (changes) VALUES (0);

-- When API keys were last used, those of a file and of the environment too.
CREATE TABLE api_key_uses (
	id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	used BIGINT NOT NULL
);
