package bus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"perigee/fleet"
	"perigee/object"
	"perigee/purge"
	"perigee/purge/purgetest"
)

var testUsers = []User{
	{Name: "api", Password: "api-secret", Control: true},
	{Name: "fra", Password: "fra-secret", Node: "fra"},
	{Name: "nyc", Password: "nyc-secret", Node: "nyc"},
	{Name: "edges", Password: "edges-secret"},
}

func as(s *Server, user string) ClientConfig {
	return ClientConfig{URL: s.URL(), User: user, Password: user + "-secret"}
}

// attempts collects what the server complains about to a client.
type attempts struct {
	mu   sync.Mutex
	errs []string
}

func (a *attempts) refused(subject string) func() bool {
	return func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return slices.ContainsFunc(a.errs, func(e string) bool {
			return strings.Contains(strings.ToLower(e), "permissions violation") && strings.Contains(e, subject)
		})
	}
}

// raw is an edge's key in the hands of somebody with a NATS client of their own.
func raw(t *testing.T, s *Server, user string) (*nats.Conn, *attempts) {
	t.Helper()
	a := &attempts{}
	nc, err := nats.Connect(s.URL(), nats.UserInfo(user, user+"-secret"), nats.CustomInboxPrefix(inboxPrefix(user)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.errs = append(a.errs, err.Error())
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, a
}

// secured is a server with users, a log with one entry, and the API's client.
func secured(t *testing.T) (*Server, *Client, *Log) {
	t.Helper()
	s := startServer(t, ServerConfig{Users: testUsers})
	api := connect(t, as(s, "api"))
	l := api.Log(LogConfig{})
	if err := l.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), purgetest.NewEntry("first")); err != nil {
		t.Fatal(err)
	}
	return s, api, l
}

// state is the log's state as the API sees it.
func state(t *testing.T, api *Client) jetstream.StreamState {
	t.Helper()
	s, err := api.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// TestNodeFollows: a node's key is enough for everything a node does.
func TestNodeFollows(t *testing.T) {
	s, api, l := secured(t)
	for _, user := range []string{"fra", "edges"} {
		c := connect(t, as(s, user))
		var sink collector
		follow(t, c.Log(LogConfig{AskEvery: 50 * time.Millisecond}), purge.Position{}, &sink)
		eventually(t, "the first entry", sink.see(func() bool { return len(sink.ids) > 0 && sink.confirms > 2 }))
		if _, err := l.Append(t.Context(), purgetest.NewEntry("by-feed-for-"+user)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the next entry", sink.see(func() bool { return slices.Contains(sink.ids, "by-feed-for-"+user) }))

		heard := make(chan *fleet.Report, 10)
		for _, listener := range []*Client{api, connect(t, as(s, "nyc"))} {
			stop, err := listener.SubscribeReports(func(r *fleet.Report) { heard <- r })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			listener.nc.Flush()
		}
		if err := c.PublishReport(report("fra")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			select {
			case r := <-heard:
				if r.Node != "fra" {
					t.Errorf("heard %+v", r)
				}
			case <-time.After(patience):
				t.Fatalf("%s: its report does not arrive", user)
			}
		}

		stop, err := c.ServeControl("fra", func(r Request) (any, error) {
			if r.Command == Undrain {
				return nil, errors.New("not now")
			}
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		c.nc.Flush()
		if err := api.Send(t.Context(), "fra", Request{Command: Drain}, nil); err != nil {
			t.Errorf("%s: drain: %v", user, err)
		}
		if err := api.Send(t.Context(), "fra", Request{Command: Undrain}, nil); err == nil || !strings.Contains(err.Error(), "not now") {
			t.Errorf("%s: undrain: %v", user, err)
		}
		stop()
	}
}

// TestDNSKeysStayAmongNodes: every node may exchange sealed keys, the control side neither hears them nor sends any.
func TestDNSKeysStayAmongNodes(t *testing.T) {
	s, api, _ := secured(t)
	fra, nyc := connect(t, as(s, "fra")), connect(t, as(s, "edges"))
	heard := make(chan string, 10)
	for who, c := range map[string]*Client{"node": nyc, "control": api} {
		stop, err := c.SubscribeDNSKeys("pn1-Some_identity", func(m []byte) { heard <- who + " " + string(m) })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		c.nc.Flush()
	}
	if err := api.PublishDNSKeys("pn1-Some_identity", []byte("by control")); err != nil { // to itself alone
		t.Fatal(err)
	}
	if m := <-heard; m != "control by control" {
		t.Errorf("heard %q", m)
	}
	api.nc.Flush()
	for _, m := range []string{"sealed", "sealed again"} {
		if err := fra.PublishDNSKeys("pn1-Some_identity", []byte(m)); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != "node "+m {
			t.Errorf("heard %q, want %q by the node alone", got, m)
		}
	}
	fra.nc.Publish(dnsKeysSubject+"pn1-Some_identity", make([]byte, maxDNSKeys+1))
	if m := <-heard; m != "node " {
		t.Errorf("a message that is too long: heard %d bytes", len(m))
	}
	for _, to := range []string{"", "*", ">", "a.b", "a b", strings.Repeat("a", 65)} {
		if err := fra.PublishDNSKeys(to, nil); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("publish to %q: %v", to, err)
		}
		if _, err := fra.SubscribeDNSKeys(to, nil); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("listen to %q: %v", to, err)
		}
	}
	if err := fra.PublishDNSKeys("a", make([]byte, maxDNSKeys+1)); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("too long: %v", err)
	}
	raw, complaints := raw(t, s, "fra")
	for _, subject := range []string{"perigee.dnskeys", "perigee.dnskeys.a.b"} {
		raw.Publish(subject, nil)
		raw.SubscribeSync(subject)
		eventually(t, "the refusal of "+subject, complaints.refused(subject))
	}
}

// TestNodeCannotWrite tries every way to the log, the other nodes and their names that a node's key might open.
func TestNodeCannotWrite(t *testing.T) {
	s, api, l := secured(t)
	nyc := connect(t, as(s, "nyc"))
	var commands int
	stop, err := nyc.ServeControl("nyc", func(Request) (any, error) { commands++; return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	nyc.nc.Flush()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := nyc.Log(LogConfig{}).Append(ctx, purgetest.NewEntry("by-a-node")); err == nil {
		t.Error("a node's Append: no error")
	}
	before := state(t, api)

	fra, complaints := raw(t, s, "fra")
	js, err := jetstream.New(fra)
	if err != nil {
		t.Fatal(err)
	}
	for what, subject := range map[string]string{
		"append": logSubject + "x", "delete": "$JS.API.STREAM.DELETE." + streamName, "purge": "$JS.API.STREAM.PURGE." + streamName,
		"change": "$JS.API.STREAM.UPDATE." + streamName, "make": "$JS.API.STREAM.CREATE.OTHER", "list": "$JS.API.STREAM.NAMES",
		"delete an entry": "$JS.API.STREAM.MSG.DELETE." + streamName, "make a consumer": "$JS.API.CONSUMER.CREATE." + streamName + ".c",
		"forge the feed": feedSubject + "x", "report for another": reportSubject + "nyc", "command another": controlSubject + "nyc",
		"answer for another": inboxPrefix("api") + ".x", "the server": "$SYS.REQ.SERVER.PING",
	} {
		if err := fra.Publish(subject, []byte(`{"format":1,"command":"drain"}`)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		eventually(t, "the refusal to "+what, complaints.refused(subject))
	}
	for what, subject := range map[string]string{
		"everything": ">", "another's answers": inboxPrefix("api") + ".>", "another's commands": controlSubject + "nyc",
		"all commands": controlSubject + "*", "the log": logSubject + "*",
	} {
		if _, err := fra.SubscribeSync(subject); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		eventually(t, "the refusal to hear "+what, complaints.refused(subject))
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := js.DeleteStream(ctx, streamName); err == nil {
		t.Error("a node can delete the log")
	}
	// Not the request but where its answer goes: the server itself would publish there.
	for _, reply := range []string{logSubject + "x", feedSubject + "x", controlSubject + "nyc", reportSubject + "nyc", inboxPrefix("api") + ".x"} {
		for call, body := range map[string]string{infoCall: "", readCall: `{"seq":1,"batch":10}`} {
			if err := fra.PublishRequest(call, reply, []byte(body)); err != nil {
				t.Errorf("%s: %v", call, err)
			}
		}
	}
	if err := fra.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := fra.Request(infoCall, nil, patience); err != nil { // after it, the ones before have been answered
		t.Fatal(err)
	}
	if after := state(t, api); after.LastSeq != before.LastSeq || after.Msgs != before.Msgs {
		t.Errorf("the log went from %+v to %+v", before, after)
	}
	if _, err := l.Append(t.Context(), purgetest.NewEntry("second")); err != nil {
		t.Error(err)
	}
	stop()
	if commands > 0 {
		t.Errorf("a node has commanded another %d times", commands)
	}
}

func TestWrongPassword(t *testing.T) {
	s := startServer(t, ServerConfig{Users: testUsers})
	cfg := as(s, "fra")
	cfg.Password = "wrong"
	c := connect(t, cfg)
	if c.Connected() {
		t.Error("connected with a wrong password")
	}
	if err := c.PublishReport(report("fra")); !errors.Is(err, ErrDisconnected) {
		t.Errorf("PublishReport: %v", err)
	}
	if _, err := c.Log(LogConfig{}).Append(t.Context(), purgetest.NewEntry("x")); !errors.Is(err, ErrDisconnected) {
		t.Errorf("Append: %v", err)
	}
	if err := c.Log(LogConfig{}).Ensure(t.Context()); !errors.Is(err, ErrDisconnected) {
		t.Errorf("Ensure: %v", err)
	}
}

func TestUserErrors(t *testing.T) {
	if err := checkUsers([]User{{Name: "UPPER", Password: "p"}}); !errors.Is(err, object.ErrInvalid) {
		t.Errorf("a bad name: %v, want ErrInvalid", err)
	}
	if err := checkUsers(testUsers); err != nil {
		t.Error(err)
	}
}
