// Package keys decides who may use the API and the console: API keys, browser sessions made from them, and the
// keyless mode of a machine that serves only itself.
//
// A Ring holds the keys: a JSON file in the data directory, which has the SHA-256 of each key and never the key, and
// the keys given by the environment. It notices a changed file when it is used, at most once a second, so
// that `perigee keys create` and `revoke` work on a running server. A file that cannot be read any more leaves the
// keys as they were.
//
// A Guard is net/http middleware. It establishes an Identity for each request, or answers 401 itself, and it refuses
// what a browser was tricked into sending. Routes then ask for a Scope, by Require or Check.
//
//   - With keys: "Authorization: Bearer <key>", or a session cookie got by POST /session. A cookie alone never
//     changes anything: unsafe requests carry the session's CSRF token as well.
//   - Keyless: while there is no key at all, and only on a loopback listener. Then every request must come straight
//     from this machine, name the console by its loopback Host, and not be sent by a page of another origin.
//
// The package is no user directory and does no TLS. It starts no goroutine. What it keeps in memory (failed logins, sessions
// that were ended) is bounded.
package keys
