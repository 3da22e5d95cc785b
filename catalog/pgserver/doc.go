// Package pgserver runs PostgreSQL servers of the installation that the machine has, each in a directory of its own: what
// tests and long proofs stand on. Start makes a primary, Server.Replica a streaming replica of it; further primaries are
// further calls of Start.
//
// It is no way to run PostgreSQL for anything that is to last: whoever can reach the socket is its superuser, and unless
// Config.Durable is set the server does not sync its disk. It installs nothing and touches no server that was there before:
// every server listens on a Unix socket in its own directory and on no port.
//
// The servers collate by the rules of English (ICU), not byte by byte, so that a query which forgets COLLATE "C" shows.
//
// PostgreSQL refuses to run as root: then its programs run as the user postgres, or nobody.
//
// Life cycle: a Server runs until Stop, Kill or the end of this process, however that comes (its children get SIGQUIT from
// the kernel). Start begins a server again that was stopped or killed. Remove deletes what it has on disk. One goroutine
// waits for each process; Stop, Kill and Remove return when it has ended. The methods of one Server are not for concurrent
// use.
package pgserver
