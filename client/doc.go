// Package client speaks the API of docs/api.md: what the command line is made of, and what any Go program may use. It has a method for every
// operation of the API's description.
//
// A Client is a base URL, an API key and an http.Client; it keeps no state and is safe for concurrent use. It starts no
// goroutine that outlives a call. Uploads stream. Lists are iterators that ask for a page at a time.
//
// What only asks is repeated while the server, or the way to it, fails (Config.Retry), and so are the pieces of Upload, which goes on where the server
// is. What changes something and has no answer may have taken effect, so nothing else is repeated here; Temporary says which errors are
// worth another try.
//
// Errors of the server are *Problem. They match fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, ErrPrecondition, and the problem.Kind that the
// answer names:
//
//	if errors.Is(err, problem.Kind("busy")) { … }
package client
