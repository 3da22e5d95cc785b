// Package web is the operators' face: the console, and the API routes that are not about publishing files:
// fleet, sites, purges, explain, keys and the live events the console shows.
//
// It decides nothing. What it shows and what it orders comes from and goes to the small interfaces of Config,
// which the program connects; it keeps no state but the queues of the listeners of GET /api/v1/events. It does not
// publish files (package upload does, on the same gin engine) and it does not check keys or make sessions: a keys.Guard
// around the engine does, and the routes here ask it for scopes. Without a guard they let nobody in.
//
// The console has two layers. GET / is a page the server renders, complete without scripts: an HTML form that
// uploads, the newest files, the fleet. The built front end in dist takes that page over when it loads. The sources
// of the front end are in console/; dist is not in git, `make console` builds it and go:embed takes it. A binary
// built without it works as a script-less console and says how to build the rest.
//
// Life cycle: New checks the configuration and loads the assets, Register adds the routes, Run feeds the live events
// until its context ends. New and Register start nothing; Run starts no goroutine of its own. The handlers of GET
// /api/v1/events stay in their requests until the client leaves or Run has ended, so end Run before
// http.Server.Shutdown, which waits for requests.
//
// On failure: when a source of the page does not answer within two seconds, the page says which and shows the rest. A
// listener that does not keep up loses what it has queued and is told to fetch everything anew (event "resync");
// nothing here ever waits for a slow listener. Errors are RFC 9457 problem documents.
package web
