package keys

import (
	"net/http"

	"perigee/openapi"
	"perigee/problem"
)

// loginBody is the body of a log-in, as JSON or as a form.
type loginBody struct {
	Key  string `json:"key" required:"true" doc:"The API key"`
	Next string `json:"next" doc:"Where a page without scripts goes next, a path of this server"`
}

// Describe adds what a Guard answers itself to the API's description: /session.
func Describe(d *openapi.Document) {
	d.Name("Session", sessionAnswer{})
	session := openapi.Content{Type: sessionAnswer{}}
	either := []string{"key", "session"}
	sent := openapi.Answer{Status: http.StatusSeeOther, Doc: "To a page without scripts (Accept: text/html)", Empty: true}
	d.Add(openapi.Operation{
		Method: http.MethodPost, Path: "/session", ID: "login", Tag: "session", Beside: true,
		Summary: "Trade an API key for a session, which a cookie carries", Doc: "Unsafe requests with the cookie carry csrf of the answer as X-CSRF-Token, or as ?csrf=.",
		Body:     []openapi.Content{{Type: loginBody{}}, {Media: "application/x-www-form-urlencoded", Type: loginBody{}}},
		Answers:  []openapi.Answer{{Status: http.StatusOK, Doc: "Logged in", Content: session, Headers: map[string]string{"Set-Cookie": "The session"}}, sent},
		Problems: []problem.Kind{"bad-login", "too-many-logins", "cross-origin"},
	})
	d.Add(openapi.Operation{
		Method: http.MethodGet, Path: "/session", ID: "getSession", Tag: "session", Beside: true, Schemes: either,
		Summary: "Who sends this request, and what that key may do", Answers: []openapi.Answer{{Status: http.StatusOK, Doc: "The key", Content: session}},
	})
	ended := []openapi.Answer{{Status: http.StatusNoContent, Doc: "Ended", Empty: true}, sent}
	for _, o := range []openapi.Operation{
		{Method: http.MethodDelete, Path: "/session", ID: "logout"}, {Method: http.MethodPost, Path: "/session/logout", ID: "logoutForm"},
	} {
		o.Tag, o.Beside, o.Schemes, o.Answers, o.Problems = "session", true, either, ended, []problem.Kind{"csrf", "cross-origin"}
		o.Summary = "End the session of the cookie"
		d.Add(o)
	}
}
