// Package client speaks the API of docs/api.md: what the command line is made of, and what any Go program may use. It has a method for every
// operation of the API's description, but for those of browsers (sessions) and of stores (bucket events).
//
// A Client is a base URL, an API key and an http.Client, and is safe for concurrent use. All it keeps is the newest consistency token of the server, which
// it sends along, so that it reads what it has written; Config.Consistency and Client.Consistency carry it from one Client to the next. It starts no
// goroutine that outlives a call. Uploads stream. Lists are iterators that ask for a page at a time.
//
// Calls are repeated while the server, or the way to it, fails (Config.Retry). What changes something is sent with an Idempotency-Key, the same with each
// repetition: if the server has made the change and its answer was lost, it gives that answer again. Resumable and direct uploads go on where the
// server is. A body that cannot be read again (Put of what is no io.Seeker) is sent once. After the problem "unsettled" nothing is repeated here, for the server
// does not know itself whether the change was made; Temporary says which errors are worth another call.
//
// Errors of the server are *Problem. They match fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, ErrPrecondition, and the problem.Kind that the
// answer names:
//
//	if errors.Is(err, problem.Kind("busy")) { … }
package client
