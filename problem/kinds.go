package problem

// Described is a kind with what there is to know of it.
type Described struct {
	Kind Kind
	// Statuses are the HTTP statuses that it comes with.
	Statuses []int
	// Meaning says what happened; where it is not plain, also what to do.
	Meaning string
}

// Find returns what there is to know of a kind; false if it is not listed.
func Find(k Kind) (Described, bool) {
	for _, d := range Kinds() {
		if d.Kind == k {
			return d, true
		}
	}
	return Described{}, false
}

// Kinds returns all kinds, by what they are about.
func Kinds() []Described {
	return append(append(asking(), changing()...), failing()...)
}

// asking are kinds about the request itself and about who sends it.
func asking() []Described {
	return []Described{
		{"invalid", []int{400, 415}, "A part of the request is not what the call takes; the detail says which."},
		{"invalid-json", []int{400}, "The body is not the JSON that the call takes. Members it does not know are refused."},
		{"too-large", []int{413, 431}, "The file, the body or a field is beyond a limit; the detail names it."},
		{"too-many", []int{413}, "A form has more fields and files than are taken."},
		{"method", []int{405}, "The address takes other methods."},
		{"not-found", []int{404}, "There is no such site, file, version, upload, node or change."},
		{"partial", []int{400}, "A part of a file cannot be put. Send the whole file, or use a resumable upload."},
		{"encoded", []int{415}, "The body has a content coding, which is not taken off."},
		{"not-a-form", []int{415}, "Files are posted as multipart/form-data."},
		{"no-file", []int{400}, "The form has no file."},

		{"key-required", []int{401}, "The call needs an API key or a session."},
		{"key-refused", []int{401}, "The API key is unknown, was revoked, or has expired."},
		{"scope-required", []int{403}, "The API key does not allow the call."},
		{"beyond-limits", []int{403}, "The API key is limited to sites or directories, and this concerns others. The detail names both."},
		{"too-many-requests", []int{429}, "The key sends more requests or bytes than it may, or too many requests without a good key came from the address. Retry-After says how long to wait."},
		{"in-progress", []int{409}, "The first request with this Idempotency-Key is still being carried out."},
		{"key-reused", []int{422}, "This Idempotency-Key came with another request before."},
		{"answer-lost", []int{409}, "The first request with this Idempotency-Key took effect, and its answer was lost. It is not carried out again; the detail says what it changed."},
		{"forbidden", []int{403}, "Nobody may do this through the API."},
		{"csrf", []int{403}, "A request with the session's cookie lacks the session's token."},
		{"cross-origin", []int{403}, "A page of another origin sent the request."},
		{"not-local", []int{403}, "Without API keys only the server's own machine is served."},
		{"wrong-host", []int{403}, "Without API keys the API answers only to its own loopback address."},
		{"proxied", []int{403}, "Without API keys requests through a proxy are refused."},
		{"bad-login", []int{400}, "A log-in without a key."},
		{"too-many-logins", []int{429}, "Too many wrong keys came from the address. Retry-After says how long to wait."},
	}
}

// changing are kinds about the change that was asked for.
func changing() []Described {
	return []Described{
		{"precondition-failed", []int{412}, "If-Match or If-None-Match does not hold: somebody else was faster."},
		{"exists", []int{409}, "The name is taken."},
		{"other-kind", []int{409}, "What the site serves is not stored by Perigee: it has no uploads, no versions, nothing to erase and no quota. The detail says where to make the change."},
		{"busy", []int{409, 503}, "Another change of the file is under way, or too many listen. Try again in a moment."},
		{"unsettled", []int{503}, "It is not known yet whether the change took effect. It is decided within minutes; ask for the file, or send it again."},
		{"incomplete", []int{400, 409}, "The body broke off, or is not as long as was said. Of a resumable or direct upload, what has arrived is kept."},
		{"digest-mismatch", []int{400}, "The body does not have the SHA-256 that was given. Nothing was published."},
		{"idle", []int{408}, "No bytes came for too long."},
		{"too-slow", []int{408}, "The request took too long in all. A resumable upload goes on in the next request."},
		{"checksum-mismatch", []int{StatusChecksum}, "The bytes do not have the given Upload-Checksum. Nothing of them is kept; send them again."},
		{"locked", []int{423}, "Another request is still writing to the upload."},
		{"offset", []int{409}, "The upload has another number of bytes. Ask with HEAD and go on from there."},
		{"gone", []int{410}, "The upload has expired or was given up. Begin a new one."},
		{"parts-changed", []int{410}, "The storage no longer has the parts of the upload as they were taken in. Begin a new one."},
		{"final", []int{403}, "The upload is made of partial uploads; nothing can be added to it."},
		{"unfinished", []int{400}, "A partial upload is not complete."},
		{"direct-off", []int{501}, "Uploads straight to the storage are off on this server."},
		{"alive", []int{409}, "The node still reports. Stop it first, then forget it."},
		{"from-environment", []int{409}, "The key comes from the server's environment. Take it out there."},
	}
}

// failing are kinds about the server and what it depends on.
func failing() []Described {
	return []Described{
		{"quota-exceeded", []int{507}, "The site may not use so much. The detail says how much is left. Nothing was changed."},
		{"storage-full", []int{507}, "The storage is full. Nothing was changed."},
		{"storage-denied", []int{502}, "The storage refused the server's credentials. Nothing was changed; the operator has to look."},
		{"storage-unavailable", []int{503}, "The storage does not answer. Nothing was changed. Try again in a moment."},
		{"catalogue-incomplete", []int{503}, "A server of the catalogue does not answer, so the listing would lack its files; the detail names it. Ask with partial=1 for the others."},
		{"catalogue-unavailable", []int{503}, "The catalogue's database does not answer. Nothing was changed. Try again in a moment."},
		{"no-answer", []int{502}, "The node did not confirm the order."},
		{"timeout", []int{503, 504}, "The server could not answer in time. Try again in a moment."},
		{"internal", []int{500}, "The server failed. The request id leads to the reason in its log."},
	}
}
