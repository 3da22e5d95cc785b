// Package client speaks the API of docs/contract.md: what the command line is made of, and what any Go program may use.
//
// A Client is a base URL, an API key and an http.Client; it keeps no state and is safe for concurrent use. It starts no
// goroutine that outlives a call. Uploads stream. Nothing is retried here: a body that was half sent cannot be
// rewound by a library; Temporary says which errors are worth another try.
//
// Errors of the server are *Problem, which match fs.ErrNotExist, fs.ErrPermission and ErrPrecondition.
package client
