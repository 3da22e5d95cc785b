// Package keys decides who may use the API and the console: API keys, browser sessions made from them, and the
// keyless mode of a machine that serves only itself.
//
// A Ring holds the keys: those of a Store, which has the SHA-256 of each key and never the key, and those given by the
// environment. A store is a JSON file in the data directory (FileStore), or the catalogue, which several nodes share. The ring
// looks once a second whether it has changed, so that `perigee keys create` and `revoke` work on running servers. A store that
// does not answer leaves the keys as they were, for Config.Stale at most.
//
// A Guard is net/http middleware. It establishes an Identity for each request, or answers 401 itself, and it refuses
// what a browser was tricked into sending. Routes then ask for a Scope, by Require or Check.
//
//   - With keys: "Authorization: Bearer <key>", or a session cookie got by POST /session. A cookie alone never
//     changes anything: unsafe requests carry the session's CSRF token as well.
//   - Keyless: while there is no key at all, and only on a loopback listener. Then every request must come straight
//     from this machine, name the console by its loopback Host, and not be sent by a page of another origin.
//
// The package is no user directory and does no TLS. It starts no goroutine; Ring.Run is for whoever has one. What it keeps in memory (failed logins, sessions
// that were ended) is bounded.
package keys
