package judge

import "testing"

// breach is a history whose last exchange breaks a rule; its name begins with the section.
func breach(name string, xs ...Exchange) history { return history{name, Violation{}, xs} }

// reused is a breach by a response that is given again ten seconds later.
func reused(name string, r Response) history {
	return breach(name, miss(get(0), r), hit(get(10), aged(r, 10, 10)))
}

func TestRefusesWhatWasNotToBeStored(t *testing.T) {
	put := with(page, "Content-Location: /a")
	part := with(as(page, 206, "hello"), "Content-Range: bytes 0-4/11")
	runAll(t, []history{
		reused("RFC 9111 §5.2.2.5: no-store", ruled("max-age=60, No-Store")),
		reused("RFC 9111 §5.2.2.5: no-store with an argument", ruled("max-age=60, no-store=1")),
		reused("RFC 9111 §5.2.2.5: no-store for CDNs", with(page, "Cdn-Cache-Control: no-store")),
		reused("RFC 9111 §5.2.2.7: private", ruled("max-age=60, private")),
		reused("RFC 9111 §5.2.2.3: must-understand with an unknown status", as(ruled("max-age=60, must-understand"), 599, "x")),
		reused("RFC 9111 §3: a status that is not cacheable by itself", as(with(page, "-Cache-Control"), 302, "x")),
		reused("RFC 9111 §3: Expires does not count beside CDN-Cache-Control", as(with(page, "-Cache-Control", "Expires: "+on(60),
			"Cdn-Cache-Control: stale-while-revalidate=60"), 302, "x")),
		breach("RFC 9111 §3: PUT", miss(ask(0, "PUT"), put), hit(get(10), aged(put, 10, 10))),
		breach("RFC 9110 §9.3.3: POST without Content-Location", miss(ask(0, "POST"), page), hit(get(10), aged(page, 10, 10))),
		breach("RFC 9110 §9.3.3: POST with the Content-Location of another host",
			miss(ask(0, "POST"), with(page, "Content-Location: http://other.test/a")),
			hit(get(10), aged(with(page, "Content-Location: http://other.test/a"), 10, 10))),
		breach("RFC 9111 §3.5: Authorization", miss(get(0, "Authorization: x"), page), hit(get(10), aged(page, 10, 10))),
		breach("RFC 9111 §3.3: cut off", via(get(0), get(0), Response{Status: 200, Header: page.Header, Body: "hel", Failed: true}, lost),
			hit(get(10), as(aged(page, 10, 10), 200, "hel"))),
		breach("RFC 9112 §8: cut off and passed on", via(get(0), get(0), Response{Status: 200, Header: page.Header, Body: "hel", Failed: true},
			as(page, 200, "hel"))),
		breach("RFC 9110 §14.2: a part for the whole", miss(get(0, "Range: bytes=0-4"), part), hit(get(10), aged(part, 10, 10))),
		breach("RFC 9111 §3.4: a part as if it were complete", miss(get(0, "Range: bytes=6-"), with(as(page, 206, "world"), "Content-Range: bytes 6-10/11")),
			hit(get(10), as(aged(page, 10, 10), 200, "\x00\x00\x00\x00\x00\x00world"))),
		breach("RFC 9111 §5.2.2: a private field", miss(get(0), with(page, "X-P: 1", "Cache-Control: max-age=60, private=x-p")),
			hit(get(10), aged(with(page, "X-P: 1", "Cache-Control: max-age=60, private=x-p"), 10, 10))),
		breach("RFC 9111 §5.2.2: a no-cache field", miss(get(0), with(page, "X-P: 1", `Cache-Control: no-cache="a, X-P", max-age=60`)),
			hit(get(10), aged(with(page, "X-P: 1", `Cache-Control: no-cache="a, X-P", max-age=60`), 10, 10))),
	})
}

func TestRefusesStaleness(t *testing.T) {
	stale := func(name, directives string, age int, fields ...string) history {
		return breach(name, miss(get(0), ruled(directives)), hit(get(age, fields...), aged(ruled(directives), age, age)))
	}
	refused := func(name, directives string) history {
		return breach(name, miss(get(0), ruled(directives)), via(get(100), get(100, `If-None-Match: "a"`), lost, aged(ruled(directives), 100, 100)))
	}
	old := func(name string, r Response, sec, age int) history {
		return breach(name, miss(get(0), r), hit(get(sec), aged(r, sec, age)))
	}
	const leave = "RFC 9111 §4.2.4"
	runAll(t, []history{
		stale(leave+": at the very end", "max-age=60", 60),
		stale(leave+": the first max-age counts", "max-age=10, max-age=600", 10),
		stale(leave+": s-maxage counts before max-age", "max-age=600, s-maxage=5", 6),
		stale(leave+": a negative max-age is 0", "max-age=-1", 0),
		stale(leave+": a quoted directive is none", `x="max-age=600,", max-age=1`, 10),
		stale(leave+": max-stale is not enough", "max-age=60", 90, "Cache-Control: max-stale=29"),
		stale(leave+": stale-while-revalidate is over", "max-age=60, stale-while-revalidate=30", 91),
		stale(leave+": stale-if-error without an error", "max-age=60, stale-if-error=300", 91),
		stale(leave+": max-stale does not reach must-revalidate", "max-age=60, must-revalidate", 61, "Cache-Control: max-stale"),
		stale(leave+": stale-while-revalidate does not reach s-maxage", "s-maxage=60, stale-while-revalidate=60", 61),
		refused(leave+": must-revalidate in a lost network", "max-age=60, must-revalidate"),
		refused(leave+": proxy-revalidate in a lost network", "max-age=60, proxy-revalidate"),
		refused("RFC 9111 §5.2.2.4: no-cache in a lost network", "max-age=600, no-cache"),
		stale("RFC 9111 §5.2.2.4: no-cache though fresh", "max-age=600, no-cache", 1),
		stale(`RFC 9111 §5.2.2.4: no-cache="" names nothing`, `max-age=600, no-cache=""`, 1),
		old(leave+": Expires is a broken date", with(page, "-Cache-Control", "Expires: 0"), 1, 1),
		old(leave+": Expires counts from Date", with(page, "-Cache-Control", "Date: "+on(-30), "Expires: "+on(10)), 10, 40),
		old(leave+": more than a tenth since Last-Modified", with(page, "-Cache-Control"), 100, 100),
		old(leave+": nothing to guess from", with(page, "-Cache-Control", "-Last-Modified"), 1, 1),
		old(leave+": Age of the origin counts", with(page, "Age: 55"), 10, 65),
		old(leave+": CDN-Cache-Control counts before Cache-Control", with(page, "Cdn-Cache-Control: max-age=5"), 6, 6),
		old(leave+": CDN-Cache-Control with a string for a number", with(page, `Cdn-Cache-Control: max-age="600"`), 6, 6),
		breach(leave+": a server error is no lost network", miss(get(0), page), via(get(100), get(100), say(100, 503, "2", ""), aged(page, 100, 100))),
		breach(leave+": the delay of the answer counts", Exchange{Client: get(-50), Got: page, Origin: []Forwarded{{get(-50), page}}},
			hit(get(10), aged(page, 10, 60))),
	})
}

func TestRefusesWrongSelection(t *testing.T) {
	vary := with(page, "Vary: Accept, x-kind")
	said, merged := renewed(100, "Cache-Control: max-age=60")
	newer := with(page, "X-Id: 2", "Date: "+on(5))
	longer := ruled("max-age=600")
	mine := with(page, "X-P: 1", "Cache-Control: max-age=60, private=x-p")
	runAll(t, []history{
		breach("RFC 9111 §3.1: a private field after validation", miss(get(0), mine), via(get(100), get(100, `If-None-Match: "a"`), said,
			with(merged, "X-P: 1"))),
		breach("RFC 9111 §4.1: another value", miss(get(0, "Accept: a"), vary), hit(get(10, "Accept: b"), aged(vary, 10, 10))),
		breach("RFC 9111 §4.1: a field that was absent", miss(get(0, "Accept: a"), vary), hit(get(10, "Accept: a", "X-Kind: "), aged(vary, 10, 10))),
		breach("RFC 9111 §4.1: Vary: *", miss(get(0), with(page, "Vary: Accept, *")), hit(get(10), aged(with(page, "Vary: Accept, *"), 10, 10))),
		breach("RFC 9111 §4: another target", miss(get(0), page), hit(to("/b", get(10)), aged(page, 10, 10))),
		breach("RFC 9110 §3.7: HEAD for GET", miss(get(0), page), via(get(100), ask(100, "HEAD"), say(100, 200, "2", ""), say(100, 200, "2", ""))),
		breach("RFC 9111 §4: an answer to HEAD for GET", miss(ask(0, "HEAD"), as(page, 200, "")), hit(get(10), as(aged(page, 10, 10), 200, ""))),
		breach("RFC 9111 §4: older than another one", miss(get(0), page), miss(get(5, "Cache-Control: no-cache"), newer), hit(get(10), aged(page, 10, 10))),
		breach("RFC 9111 §4.4: PUT", miss(get(0), page), miss(ask(1, "PUT"), say(1, 204, "2", "")), hit(get(10), aged(page, 10, 10))),
		breach("RFC 9111 §4.4: HEAD is no validation", miss(get(0), page), miss(ask(1, "PUT"), say(1, 204, "2", "")),
			miss(ask(2, "HEAD"), say(2, 200, "3", "", `Etag: "a"`)), hit(get(10), aged(page, 10, 8, "X-Id: 3", "Date: "+on(2)))),
		breach("RFC 9111 §4.4: unknown method, redirected", miss(get(0), page), miss(ask(1, "FROB"), say(1, 303, "2", "")), hit(get(10), aged(page, 10, 10))),
		breach("RFC 9111 §4.3.4: fields from before a 304", miss(get(0), longer),
			via(get(100, "Pragma: no-cache"), get(100, `If-None-Match: "a"`), said, merged), hit(get(110), aged(longer, 110, 110))),
		breach("RFC 9111 §3.2: one field from before a 304", miss(get(0), page),
			via(get(100), get(100, `If-None-Match: "a"`), said, with(merged, "Cache-Control: max-age=1"))),
		breach("RFC 9111 §4.3.3: a full answer thrown away", miss(get(0), longer),
			via(get(100, "Pragma: no-cache"), get(100, `If-None-Match: "a"`), say(100, 200, "2", "new"), aged(longer, 100, 100))),
		breach("RFC 9111 §4.3.4: a 304 about something else", miss(get(0), page),
			via(get(100), get(100, `If-None-Match: "a"`), say(100, 304, "2", "", `Etag: "b"`), with(page, "X-Id: 2"))),
		breach("RFC 9111 §4: never sent", hit(get(0), page)),
		breach("RFC 9111 §4: made up", hit(get(0), own(200))),
		breach("RFC 9111 §4: unsafe request answered from store", hit(ask(1, "POST"), own(200))),
	})
}

func TestRefusesWrongForwarding(t *testing.T) {
	runAll(t, []history{
		breach("RFC 9111 §4.3.1: a validator from nowhere", via(get(0), get(0, `If-None-Match: "x"`), page, page)),
		breach("RFC 9111 §4.3.1: a validator of another target", miss(to("/b", get(0)), page), via(get(1), get(1, `If-None-Match: "a"`), with(page, "X-Id: 2"),
			with(page, "X-Id: 2"))),
		breach("RFC 9111 §4.3.1: a validator of what was not to be stored", miss(get(0), ruled("no-store")),
			via(get(1), get(1, `If-None-Match: "a"`), with(page, "X-Id: 2"), with(page, "X-Id: 2"))),
		breach("RFC 9111 §4.3.1: a date that is not Last-Modified", miss(get(0), page),
			via(get(100), get(100, "If-Modified-Since: "+on(0)), with(page, "X-Id: 2"), with(page, "X-Id: 2"))),
		breach("RFC 9110 §3.7: another target", via(get(0), to("/b", get(0)), page, page)),
		breach("RFC 9110 §7.6.1: a field for one connection to the origin", via(get(0, "Connection: x-h", "X-H: 1"), get(0, "X-H: 1"), page, page)),
		breach("RFC 9110 §9.2.2: POST repeated", Exchange{Client: ask(0, "POST"), Got: page, Origin: []Forwarded{{ask(0, "POST"), lost}, {ask(0, "POST"), page}}}),
		breach("RFC 9110 §15.6.3: the answer withheld", via(get(0), get(0), page, own(502))),
		breach("RFC 9110 §15: no answer", via(get(0), get(0), page, lost)),
	})
}

func TestRefusesWrongAnswers(t *testing.T) {
	fromStore := func(name string, q Request, got Response) history {
		return breach(name, miss(get(0), page), hit(q, got))
	}
	cut := func(span, body string) Response { return as(aged(page, 5, 5, "Content-Range: bytes "+span), 206, body) }
	weak := with(page, `Etag: W/"a"`)
	bad := as(page, 404, "no")
	runAll(t, []history{
		fromStore("RFC 9111 §4: another body", get(5), as(aged(page, 5, 5), 200, "hello")),
		fromStore("RFC 9111 §4: another status", get(5), as(aged(page, 5, 5), 203, "hello world")),
		fromStore("RFC 9111 §4: no Age", get(5), page),
		fromStore("RFC 9111 §4.2.3: Age too low", get(5), aged(page, 5, 3)),
		fromStore("RFC 9111 §4.2.3: Age too high", get(5), aged(page, 5, 7)),
		fromStore("RFC 9111 §5.1: Age is no number", get(5), aged(page, 5, 5, "Age: 5s")),
		fromStore("RFC 9110 §6.6.1: Date rewritten", get(5), aged(page, 5, 5, "Date: "+on(5))),
		fromStore("RFC 9111 §3.1: a field lost", get(5), aged(page, 5, 5, "-Content-Type")),
		fromStore("RFC 9111 §3.1: a field made up", get(5), aged(page, 5, 5, "X-New: 1")),
		fromStore("RFC 9111 §3.2: a field changed", get(5), aged(page, 5, 5, "Content-Type: text/html")),
		fromStore("RFC 9110 §8.6: a wrong Content-Length", ask(5, "HEAD"), as(aged(page, 5, 5, "Content-Length: 12"), 200, "")),
		fromStore("RFC 9110 §9.3.2: content for HEAD", ask(5, "HEAD"), aged(page, 5, 5)),
		breach("RFC 9110 §7.6.1: a field for one connection", miss(get(0), with(page, "Connection: X-H", "X-H: 1"))),
		breach("RFC 9110 §7.6.1: Keep-Alive of the origin", miss(get(0), with(page, "Keep-Alive: timeout=5"))),
		breach("RFC 9111 §5.1: Age of the origin lost", via(get(0), get(0), with(page, "Age: 5"), page)),
		fromStore("RFC 9110 §15.4.5: 304 without precondition", get(5), as(aged(page, 5, 5), 304, "")),
		fromStore("RFC 9110 §15.4.5: 304 with content", get(5, `If-None-Match: "a"`), as(aged(page, 5, 5), 304, "x")),
		fromStore("RFC 9111 §3.1: 304 without Cache-Control", get(5, `If-None-Match: "a"`), as(aged(page, 5, 5, "-Cache-Control"), 304, "")),
		fromStore("RFC 9110 §13.2.2: another entity-tag", get(5, `If-None-Match: "b", a`), as(aged(page, 5, 5), 304, "")),
		fromStore("RFC 9110 §13.2.2: modified since", get(5, "If-Modified-Since: "+on(-1001)), as(aged(page, 5, 5), 304, "")),
		fromStore("RFC 9110 §13.2.2: the entity-tag counts before the date", get(5, `If-None-Match: "b"`, "If-Modified-Since: "+on(0)), as(aged(page, 5, 5), 304, "")),
		fromStore("RFC 9110 §13.2.2: a date that is none", get(5, "If-Modified-Since: tomorrow"), as(aged(page, 5, 5), 304, "")),
		breach("RFC 9110 §13.2.1: 304 for a 404", miss(get(0), bad), hit(get(5, `If-None-Match: "a"`), as(aged(bad, 5, 5), 304, ""))),
		fromStore("RFC 9110 §15.3.7: wrong bytes", get(5, "Range: bytes=0-4"), cut("0-4/11", "hallo")),
		fromStore("RFC 9110 §14.4: fewer bytes than Content-Range says", get(5, "Range: bytes=0-4"), cut("0-4/11", "hell")),
		fromStore("RFC 9110 §14.4: a wrong length of the whole", get(5, "Range: bytes=0-4"), cut("0-4/12", "hello")),
		fromStore("RFC 9110 §14.2: other bytes than asked for", get(5, "Range: bytes=0-3"), cut("0-4/11", "hello")),
		fromStore("RFC 9110 §14.2: more bytes than asked for", get(5, "Range: bytes=1-4"), cut("0-4/11", "hello")),
		fromStore("RFC 9110 §14.2: a part without Range", get(5), cut("0-4/11", "hello")),
		fromStore("RFC 9110 §14.2: a part for HEAD", ask(5, "HEAD", "Range: bytes=0-4"), cut("0-4/11", "")),
		fromStore("RFC 9110 §14.2: a part for a Range that does not parse", get(5, "Range: bytes=4-0"), cut("0-4/11", "hello")),
		breach("RFC 9110 §14.2: a part of a 404", miss(get(0), bad), hit(get(5, "Range: bytes=0-0"), as(aged(bad, 5, 5, "Content-Range: bytes 0-0/2"), 206, "n"))),
		fromStore("RFC 9110 §13.1.5: If-Range with another entity-tag", get(5, "Range: bytes=0-4", `If-Range: "b"`), cut("0-4/11", "hello")),
		breach("RFC 9110 §13.1.5: If-Range with a weak entity-tag", miss(get(0), weak),
			hit(get(5, "Range: bytes=0-4", `If-Range: W/"a"`), as(aged(weak, 5, 5, "Content-Range: bytes 0-4/11"), 206, "hello"))),
		fromStore("RFC 9110 §13.1.5: If-Range with a later date", get(5, "Range: bytes=0-4", "If-Range: "+on(-999)), cut("0-4/11", "hello")),
		breach("RFC 9110 §13.1.5: If-Range with a date that is weak", miss(get(0), with(page, "Last-Modified: "+on(0))), hit(get(5, "Range: bytes=0-4",
			"If-Range: "+on(0)), as(aged(with(page, "Last-Modified: "+on(0)), 5, 5, "Content-Range: bytes 0-4/11"), 206, "hello"))),
		fromStore("RFC 9110 §15.3.7.2: multipart for one range", get(5, "Range: bytes=0-1"), as(aged(page, 5, 5, "Content-Type: multipart/byteranges; boundary=B"),
			206, "--B\r\nContent-Range: bytes 0-1/11\r\n\r\nhe\r\n--B--\r\n")),
		fromStore("RFC 9110 §15.5.17: 416 for a range there is", get(5, "Range: bytes=20-, -1"), as(aged(page, 5, 5), 416, "")),
		fromStore("RFC 9110 §14.4: 416 with a wrong length", get(5, "Range: bytes=20-"), as(aged(page, 5, 5, "Content-Range: bytes */20"), 416, "")),
	})
}

func TestNotesLapses(t *testing.T) {
	lapse := func(name string, q Request, age int) history {
		return history{name, Lapse{}, []Exchange{miss(get(0), ruled("max-age=60, stale-while-revalidate=60")),
			hit(q, aged(ruled("max-age=60, stale-while-revalidate=60"), age, age))}}
	}
	limited := ruled("max-age=60, stale-if-error=10")
	forbids, _ := renewed(100, "Cache-Control: no-store")
	longer := ruled("max-age=600")
	said, merged := renewed(100)
	runAll(t, []history{
		lapse("RFC 9111 §5.2.1.1: older than asked for", get(20, "Cache-Control: max-age=19"), 20),
		lapse("RFC 9111 §5.2.1.1: stale without max-stale", get(70, "Cache-Control: max-age=100"), 70),
		lapse("RFC 9111 §5.2.1.3: min-fresh", get(20, "Cache-Control: MIN-FRESH=41"), 20),
		lapse("RFC 9111 §5.2.1.4: no-cache", get(20, "Cache-Control: no-cache"), 20),
		{"RFC 9111 §5.2.1.5: no-store in the request", Lapse{}, []Exchange{miss(get(0, "Cache-Control: no-store"), page), hit(get(5), aged(page, 5, 5))}},
		{"RFC 9111 §5.2.1.7: only-if-cached", Lapse{}, []Exchange{miss(get(0, "Cache-Control: only-if-cached"), page)}},
		{"RFC 5861 §4: stale for longer than stale-if-error", Lapse{}, []Exchange{miss(get(0), limited), via(get(100), get(100), lost, aged(limited, 100, 100))}},
		{"RFC 9111 §4.3.2: precondition ignored", Lapse{}, []Exchange{miss(get(0), page), hit(get(5, `If-None-Match: "a"`), aged(page, 5, 5))}},
		{"RFC 9111 §4.3.2: precondition ignored after validation", Lapse{}, []Exchange{miss(get(0), page),
			via(get(100, `If-None-Match: "a"`), get(100, `If-None-Match: "a"`), said, merged)}},
		{"RFC 9111 §4.4: named by Location", Lapse{}, []Exchange{miss(get(0), page), miss(to("/b", ask(1, "POST")), say(1, 201, "2", "", "Location: http://"+Host+"/a")),
			hit(get(5), aged(page, 5, 5))}},
		{"RFC 9111 §4.3.5: HEAD says that it changed", Lapse{}, []Exchange{miss(get(0), page), miss(ask(1, "HEAD", "Pragma: no-cache"), say(1, 200, "2", "", `Etag: "b"`)),
			hit(get(5), aged(page, 5, 5))}},
		{"RFC 9111 §4.3.4: a 304 forbids storing", Lapse{}, []Exchange{miss(get(0), longer),
			via(get(100, "Cache-Control: no-cache"), get(100, `If-None-Match: "a"`), forbids, with(longer, "X-Id: 2", "Date: "+on(100), "Cache-Control: no-store")),
			hit(get(101), aged(longer, 101, 101))}},
		{"RFC 9110 §15.6.3: failure without asking", Lapse{}, []Exchange{hit(get(0), own(503))}},
	})
}

func TestNotesWhatWasMissed(t *testing.T) {
	again := func(sec int) Response { return with(page, "X-Id: 2", "Date: "+on(sec)) }
	longer := ruled("max-age=600")
	said, merged := renewed(5, "Cache-Control: max-age=600")
	runAll(t, []history{
		{"RFC 9111 §4.2: fresh", Missed{}, []Exchange{miss(get(0), page), miss(get(59), again(59))}},
		{"RFC 9111 §4.2: 504 to only-if-cached", Missed{}, []Exchange{miss(get(0), page), hit(get(5, "Cache-Control: only-if-cached"), own(504))}},
		{"RFC 9111 §4.2: a variant", Missed{}, []Exchange{miss(get(0, "Accept: a"), with(page, "Vary: Accept")),
			miss(get(1, "Accept: b"), with(page, "Vary: Accept", "X-Id: 3")), miss(get(2, "Accept: a"), again(2))}},
		{"RFC 9111 §4.2: updated", Missed{}, []Exchange{miss(get(0), page), via(get(5, "Cache-Control: no-cache"), get(5, `If-None-Match: "a"`), said, merged),
			miss(get(500), with(again(500), "X-Id: 3"))}},
		{"a stale one is not missed", nil, []Exchange{miss(get(0), page), miss(get(60), again(60))}},
		{"a guess is not missed", nil, []Exchange{miss(get(0), with(page, "-Cache-Control")), miss(get(10), again(10))}},
		{"one that no client got whole is not missed", nil, []Exchange{via(ask(0, "HEAD"), get(0), page, as(page, 200, "")), miss(get(10), again(10))}},
		{"a pushed out one is not missed", nil, []Exchange{miss(get(0), longer), miss(get(1, "Pragma: no-cache"), with(again(1), "Cache-Control: no-store")),
			miss(get(2), with(again(2), "X-Id: 3"))}},
		{"one after a change of Vary is not missed", nil, []Exchange{miss(get(0, "Accept: a"), with(longer, "Vary: Accept")),
			miss(get(1, "Accept: b"), with(again(1), "Vary: Accept, X-Kind")), miss(get(2, "Accept: a"), with(again(2), "X-Id: 3"))}},
	})
}
