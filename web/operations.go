package web

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"perigee/catalog"
	"perigee/dnsgeo/steer"
	"perigee/fleet"
	"perigee/keys"
	"perigee/object"
	"perigee/openapi"
	"perigee/origin/watch"
	"perigee/problem"
)

// adder registers a route behind the scope that it needs, and describes it.
type adder func(openapi.Operation, gin.HandlerFunc)

// Register adds the routes to r and to the API's description. Who may use them is decided by a keys.Guard around the engine: without one,
// every route but the public ones answers 401.
func (s *Server) Register(r gin.IRouter, d *openapi.Document) {
	g := r.Group("/", harden)
	g.GET("/", need(keys.ScopeRead), s.page)
	g.HEAD("/", need(keys.ScopeRead), s.page)
	g.GET(LoginPath, s.login)
	g.HEAD(LoginPath, s.login)
	g.GET(assetPrefix+"*name", s.asset)
	g.HEAD(assetPrefix+"*name", s.asset)

	s.nameTypes(d)
	route := func(o openapi.Operation, h gin.HandlerFunc) {
		d.Add(o)
		g.Handle(o.Method, o.Route(), need(keys.Scope(o.Scope)), h)
	}
	s.siteRoutes(route)
	s.ledgerRoutes(route)
	s.watchRoutes(route)
	s.purgeRoutes(route)
	s.contentRoutes(route)
	s.fleetRoutes(route)
	s.explainRoutes(route)
	s.eventRoutes(route)
	if s.cfg.Keys != nil {
		s.keyRoutes(route)
	}
	if s.cfg.Catalogue != nil {
		s.catalogueRoutes(route)
	}
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/openapi.json", ID: "openapi", Tag: "description", Scope: string(keys.ScopeRead),
		Summary: "This description",
		Answers: []openapi.Answer{{Status: 200, Doc: "OpenAPI 3.1", Content: openapi.Content{Type: openapi.Schema{"type": "object"}}}},
	}, describe(d))
}

// nameTypes says of types what cannot be seen from them.
func (s *Server) nameTypes(d *openapi.Document) {
	d.Name("Fleet", fleetView{})
	d.Name("Node", nodeView{})
	d.Name("Key", keyView{})
	d.Name("MadeKey", madeKey{})
	d.Name("NodePlace", fleet.Place{})
	d.Name("Change", change{})
	d.Include(change{}) // is in events alone
	d.Name("Watch", watch.Status{})
	openapi.Enum(d, watch.ModeListening, watch.ModeStorage, watch.ModeWebhook, watch.ModePolling)
	openapi.Enum(d, watch.Connecting, watch.Open, watch.Broken, watch.Unsupported)
	openapi.Enum(d, keys.ScopeRead, keys.ScopePublish, keys.ScopePurge, keys.ScopeAdmin)
	openapi.Enum(d, fleet.RoleEdge, fleet.RoleDNS, fleet.RoleAPI)
	openapi.Enum(d, fleet.FrozenNoBus, fleet.FrozenDeaf, fleet.FrozenBlind)
	openapi.Enum(d, fleet.Starting, fleet.Ready, fleet.Draining, fleet.Stopping)
}

// Parameters of lists.
var (
	pageCursor = openapi.Param{In: openapi.Query, Name: "cursor", Doc: "next of the page before"}
	pageLimit  = openapi.Param{In: openapi.Query, Name: "limit", Doc: "How many at most", Type: 0, Limits: openapi.Schema{"minimum": 1, "maximum": maxLimit}}
	ofSite     = openapi.Param{In: openapi.Query, Name: "site", Doc: "Only those of this site", Type: object.Site("")}
)

// ledgerRoutes are quotas, the audit log and past purges.
func (s *Server) ledgerRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodPatch, Path: "/api/v1/sites/{site}", ID: "setQuota", Tag: "sites", Scope: string(keys.ScopeAdmin),
		Summary: "Set what a site may use", Doc: "0 or nothing is no limit. Bytes are those of all kept versions, files those that are live. Needs a key without limits.",
		Body:     []openapi.Content{{Type: quotaBody{}}},
		Answers:  []openapi.Answer{{Status: 200, Doc: "Set", Content: openapi.Content{Type: catalog.Usage{}}}},
		Problems: []problem.Kind{"invalid", "invalid-json", "too-large", "not-found", "other-kind"},
	}, s.setQuota)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/sites/{site}/recount", ID: "recount", Tag: "sites", Scope: string(keys.ScopeAdmin),
		Summary: "Count anew what a site uses, and correct it", Doc: "Changes of the site wait meanwhile. Needs a key without limits.",
		Answers:  []openapi.Answer{{Status: 200, Doc: "Counted", Content: openapi.Content{Type: recounted{}}}},
		Problems: []problem.Kind{"invalid", "not-found", "other-kind"},
	}, s.recount)
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/audit", ID: "listAudit", Tag: "audit", Scope: string(keys.ScopeAdmin),
		Summary: "Who changed what, the newest first", Doc: "A page may have fewer than limit: what the key may not see is left out.",
		Params:   []openapi.Param{pageCursor, pageLimit, ofSite, {In: openapi.Query, Name: "key", Doc: "Only what was done with the key of this id"}},
		Answers:  []openapi.Answer{{Status: 200, Doc: "One page", Content: openapi.Content{Type: auditPage{}}}},
		Problems: []problem.Kind{"invalid"},
	}, s.audit)
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/purges", ID: "listPurges", Tag: "purges", Scope: string(keys.ScopeRead),
		Summary: "Past purges, the newest first", Doc: "A page may have fewer than limit: what the key may not see is left out.",
		Params:   []openapi.Param{pageCursor, pageLimit, ofSite},
		Answers:  []openapi.Answer{{Status: 200, Doc: "One page", Content: openapi.Content{Type: purgePage{}}}},
		Problems: []problem.Kind{"invalid"},
	}, s.purges)
}

func (s *Server) siteRoutes(route adder) {
	record := openapi.Content{Type: object.SiteRecord{}}
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/sites", ID: "listSites", Tag: "sites", Scope: string(keys.ScopeRead),
		Summary:  "List the sites",
		Params:   []openapi.Param{pageCursor, pageLimit},
		Answers:  []openapi.Answer{{Status: 200, Doc: "One page of those the key may see, and what they use", Content: openapi.Content{Type: sitePage{}}}},
		Problems: []problem.Kind{"invalid"},
	}, s.sites)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/sites", ID: "createSite", Tag: "sites", Scope: string(keys.ScopeAdmin),
		Summary: "Create a site", Body: []openapi.Content{{Type: object.SiteDeclaration{}}},
		Answers:  []openapi.Answer{{Status: 201, Doc: "Created", Content: record}},
		Problems: []problem.Kind{"invalid", "invalid-json", "too-large", "exists"},
	}, s.createSite)
	route(openapi.Operation{
		Method: http.MethodPut, Path: "/api/v1/sites/{site}", ID: "updateSite", Tag: "sites", Scope: string(keys.ScopeAdmin),
		Summary: "Replace a site's hosts, rules and origin",
		Doc:     "A record with a mistake is refused with the reason, and the old one stays in force. Its kind stays.",
		Params:  []openapi.Param{{In: openapi.Header, Name: "If-Match", Doc: "The version to replace, in quotes"}},
		Body:    []openapi.Content{{Type: object.SiteDeclaration{}}},
		Answers: []openapi.Answer{{Status: 200, Doc: "Changed", Content: record}},
		Problems: []problem.Kind{
			"invalid", "invalid-json", "too-large", "not-found", "exists", "forbidden", "precondition-failed"},
	}, s.updateSite)
}

func (s *Server) watchRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/watches", ID: "listWatches", Tag: "sites", Scope: string(keys.ScopeRead),
		Summary: "How bucket sites are watched", Params: []openapi.Param{pageCursor, pageLimit},
		Answers:  []openapi.Answer{{Status: 200, Doc: "One page of bucket sites, sorted by name", Content: openapi.Content{Type: watchPage{}}}},
		Problems: []problem.Kind{"invalid"},
	}, s.watches)
}

// DescribeBucketEvents adds NewBucketEvents to the API's description.
func DescribeBucketEvents(d *openapi.Document) {
	d.Add(openapi.Operation{
		Method: http.MethodPost, Path: BucketEventsPath, ID: "bucketEvents", Tag: "sites", Beside: true, Schemes: []string{"events", "eventsBasic"},
		Summary: "Tell of objects of bucket sites that have changed", Doc: "Stores post it: messages of AWS S3, SNS, EventBridge, MinIO, Ceph and versitygw.",
		Body:     []openapi.Content{{Type: openapi.Schema{"type": "object"}}},
		Answers:  []openapi.Answer{{Status: 200, Doc: "All of it is recorded", Content: openapi.Content{Type: eventsTaken{}}}},
		Problems: []problem.Kind{"invalid", "incomplete", "too-large", "busy", "storage-unavailable"},
	})
}

func (s *Server) purgeRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/sites/{site}/purge", ID: "purge", Tag: "purges", Scope: string(keys.ScopePurge),
		Summary: "Purge what caches hold of a site", Doc: "It names at most 1,000 things in all.",
		Params: []openapi.Param{{In: openapi.Query, Name: "wait", Doc: "Wait for the proof this long, such as 5s; 30 s at most"}},
		Body:   []openapi.Content{{Type: purgeBody{}}},
		Answers: []openapi.Answer{
			{Status: 200, Doc: "With wait: effective on every edge", Content: openapi.Content{Type: Proof{}}},
			{Status: 202, Doc: "Ordered; with wait, the proof as far as it got", Content: openapi.Content{Type: openapi.OneOf{Proof{}, orderedPurge{}}}},
		},
		Problems: []problem.Kind{"invalid", "invalid-json", "too-large", "not-found"},
	}, s.purge)
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/purges/{id}", ID: "getPurge", Tag: "purges", Scope: string(keys.ScopeRead),
		Summary: "How far a purge, or any change, is effective", Answers: []openapi.Answer{{Status: 200, Doc: "The proof", Content: openapi.Content{Type: Proof{}}}},
		Problems: []problem.Kind{"not-found"},
	}, s.proof)
}

func (s *Server) contentRoutes(route adder) {
	wait := []openapi.Param{{In: openapi.Query, Name: "wait", Doc: "Wait for the proof this long, such as 5s; 30 s at most"}}
	answers := []openapi.Answer{
		{Status: 200, Doc: "Done, and applied by every edge; or there was nothing", Content: openapi.Content{Type: erasedAnswer{}}},
		{Status: 202, Doc: "Something is still to come: edges that have not applied it, or unfinished versions", Content: openapi.Content{Type: erasedAnswer{}}},
	}
	problems := []problem.Kind{"invalid", "invalid-json", "too-large", "not-found", "other-kind"}
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/sites/{site}/erase", ID: "erase", Tag: "contents", Scope: string(keys.ScopePublish),
		Summary: "Destroy what a site has published, everywhere and for good", Doc: "All versions of up to 100 paths, or every version with a content.",
		Params: wait, Body: []openapi.Content{{Type: eraseBody{}}}, Answers: answers, Problems: problems,
	}, s.erase)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/erase", ID: "eraseEverywhere", Tag: "contents", Scope: string(keys.ScopeAdmin),
		Summary: "Destroy a content of all sites, everywhere and for good",
		Params:  wait, Body: []openapi.Content{{Type: eraseBody{}}}, Answers: answers, Problems: problems,
	}, s.eraseEverywhere)
	garbage := []openapi.Answer{{Status: 200, Doc: "What the collector has before it", Content: openapi.Content{Type: Garbage{}}}}
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/gc", ID: "getGarbage", Tag: "contents", Scope: string(keys.ScopeAdmin),
		Summary: "What is going to be deleted because nothing refers to it", Answers: garbage,
	}, s.garbage)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/gc", ID: "collect", Tag: "contents", Scope: string(keys.ScopeAdmin),
		Summary: "Delete now what is due", Doc: "The server does so every minute by itself.", Answers: garbage,
	}, s.collect)
}

func (s *Server) fleetRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/fleet", ID: "getFleet", Tag: "fleet", Scope: string(keys.ScopeRead),
		Summary: "The nodes as they are now", Params: []openapi.Param{pageCursor, pageLimit}, Problems: []problem.Kind{"invalid"},
		Answers: []openapi.Answer{{Status: 200, Doc: "The fleet", Content: openapi.Content{Type: fleetView{}}}},
	}, s.fleet)
	route(openapi.Operation{
		Method: http.MethodDelete, Path: "/api/v1/fleet/{node}", ID: "forgetNode", Tag: "fleet", Scope: string(keys.ScopeAdmin),
		Summary: "Forget a node that is down for good", Answers: []openapi.Answer{{Status: 204, Doc: "Forgotten", Empty: true}},
		Problems: []problem.Kind{"not-found", "alive"},
	}, s.forget)
	order := func(verb, id, summary string, drain bool) {
		route(openapi.Operation{
			Method: http.MethodPost, Path: "/api/v1/fleet/{node}/" + verb, ID: id, Tag: "fleet", Scope: string(keys.ScopeAdmin), Summary: summary,
			Answers:  []openapi.Answer{{Status: 202, Doc: "Ordered; the node's report says whether it was followed", Content: openapi.Content{Type: drainOrder{}}}},
			Problems: []problem.Kind{"not-found", "no-answer"},
		}, func(c *gin.Context) { s.drain(c, drain) })
	}
	order("drain", "drainNode", "Ask a node to take no new clients", true)
	order("undrain", "undrainNode", "Let a node take new clients again", false)
}

func (s *Server) explainRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/explain", ID: "explain", Tag: "explain", Scope: string(keys.ScopeRead),
		Summary: "Why a client at an address gets what it gets for a path",
		Params: []openapi.Param{
			{In: openapi.Query, Name: "site", Doc: "The name of a site", Required: true, Type: object.Site("")},
			{In: openapi.Query, Name: "path", Doc: "Decoded; one that ends in / means its index.html", Required: true},
			{In: openapi.Query, Name: "ip", Doc: "The client's address; the caller's own when absent"},
		},
		Answers:  []openapi.Answer{{Status: 200, Doc: "The decision as it would be made now", Content: openapi.Content{Type: Explanation{}}}},
		Problems: []problem.Kind{"invalid", "not-found"},
	}, s.explain)
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/whatif", ID: "whatIf", Tag: "explain", Scope: string(keys.ScopeRead),
		Summary: "What draining or adding edges would move; nothing is changed",
		Params: []openapi.Param{
			{In: openapi.Query, Name: "drain", Doc: "Names of edges", Type: []string{}},
			{In: openapi.Query, Name: "add", Doc: "Edges as NAME@LAT,LON in degrees, such as tyo@35.6,139.7", Type: []string{}},
		},
		Answers:  []openapi.Answer{{Status: 200, Doc: "What would move when all has settled", Content: openapi.Content{Type: steer.Comparison{}}}},
		Problems: []problem.Kind{"invalid", "not-found", "exists"},
	}, s.whatIf)
}

func (s *Server) eventRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/events", ID: "events", Tag: "events", Scope: string(keys.ScopeRead),
		Summary: "Live events",
		Doc: "First `hello` {version} and `fleet` (schema Fleet). Then `fleet` when it changes, `publish`, `delete`, `purge` and `site` (schema Change) when the log has them, " +
			"`proof` (schema Proof) as they become effective. After `resync` {} events were lost: fetch anew.",
		Answers:  []openapi.Answer{{Status: 200, Doc: "Server-sent events", Content: openapi.Content{Media: "text/event-stream"}}},
		Problems: []problem.Kind{"busy"},
	}, s.events)
}

func (s *Server) keyRoutes(route adder) {
	route(openapi.Operation{
		Method: http.MethodGet, Path: "/api/v1/keys", ID: "listKeys", Tag: "keys", Scope: string(keys.ScopeAdmin),
		Summary:  "List the API keys, without their secrets",
		Params:   []openapi.Param{pageCursor, pageLimit},
		Answers:  []openapi.Answer{{Status: 200, Doc: "One page", Content: openapi.Content{Type: keyPage{}}}},
		Problems: []problem.Kind{"invalid"},
	}, s.keys)
	route(openapi.Operation{
		Method: http.MethodPost, Path: "/api/v1/keys", ID: "createKey", Tag: "keys", Scope: string(keys.ScopeAdmin),
		Summary: "Make an API key", Body: []openapi.Content{{Type: newKey{}}},
		Answers:  []openapi.Answer{{Status: 201, Doc: "Made", Content: openapi.Content{Type: madeKey{}}}},
		Problems: []problem.Kind{"invalid", "invalid-json", "too-large"},
	}, s.createKey)
	route(openapi.Operation{
		Method: http.MethodDelete, Path: "/api/v1/keys/{id}", ID: "revokeKey", Tag: "keys", Scope: string(keys.ScopeAdmin),
		Summary: "End an API key at once", Answers: []openapi.Answer{{Status: 204, Doc: "Ended", Empty: true}},
		Problems: []problem.Kind{"not-found", "from-environment"},
	}, s.revokeKey)
}
