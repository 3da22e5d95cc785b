// Package strict lets only HTTP/1.x messages through to net/http that every recipient reads alike.
//
// net/http is generous with what it accepts, as most servers are, and each is so in its own way: a line that ends with LF alone, a folded field, a length given
// twice, or both ways. Where two programs in a row are generous in different ways, one of them can be made to see a request that the other did not. A Conn reads ahead of
// the server: it holds a head back until it has seen all of it, follows the body to its end to find the next head, and puts a request that cannot be
// right in the place of one that could be read in two ways. The server then answers 400 and closes; to a head that is too large, 431.
//
// It changes nothing else, decides nothing about what is asked, and knows no HTTP/2. A Conn starts no goroutine; its buffer is bounded by MaxHead.
//
// # What is refused
//
//	lines that do not end with CRLF, CR elsewhere                                RFC 9112 §2.2
//	a request line that is not method SP target SP HTTP/1.x                      RFC 9112 §3
//	absolute form with another host than Host                                    RFC 9112 §3.2.2
//	space before the colon, folded fields, control characters                    RFC 9112 §5, RFC 9110 §5.5
//	no Host, two of them                                                         RFC 9112 §3.2
//	Content-Length that is no number, is given twice, or beside Transfer-Encoding  RFC 9112 §6.2, §6.3
//	Transfer-Encoding that is not chunked, or in HTTP/1.0                        RFC 9112 §6.1
//	chunks whose framing is not exact                                            RFC 9112 §7.1
package strict
