package bus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"perigee/object"
)

// User is somebody who may connect to a Server.
type User struct {
	// Name is an LDH label, unique.
	Name     string
	Password string
	// Control is set for the API's side: it may append to the log, read every report and command nodes. Everybody else
	// may read the log and the reports, publish reports, answer commands, and exchange sealed DNSSEC keys.
	Control bool
	// Node, if set, is the only node the user may speak for. Nodes that share one user can speak for each other.
	Node string
}

func checkUsers(users []User) error {
	seen := map[string]bool{}
	for _, u := range users {
		if _, err := object.ParseSite(u.Name); err != nil || u.Name == localUser {
			return fmt.Errorf("bus user %q: %w: a name has 1 to 63 lower-case letters, digits and inner hyphens, and is not %q",
				u.Name, object.ErrInvalid, localUser)
		}
		if seen[u.Name] {
			return fmt.Errorf("bus user %q: %w: it is there twice", u.Name, object.ErrInvalid)
		}
		seen[u.Name] = true
		if u.Password == "" {
			return fmt.Errorf("bus user %q: %w: it has no password", u.Name, object.ErrInvalid)
		}
		if _, err := object.ParseSite(u.Node); u.Node != "" && err != nil {
			return fmt.Errorf("bus user %q: %w: node name %q", u.Name, object.ErrInvalid, u.Node)
		}
	}
	return nil
}

// The accounts are two worlds of subjects. The log lives in controlAccount; nodes are in nodesAccount and see of
// the first one the feed and the two read calls, nothing else. Permissions alone would not do: NATS checks the subject
// a client publishes to and not the one it wants the answer on, so a node could ask for the stream's state with
// "perigee.log.x" as the reply subject and have the server append its own answer.
const (
	controlAccount = "control"
	nodesAccount   = "nodes"
	localUser      = "local"

	// usageCall is imported only so that the server leaves its own import of the whole JetStream API out of
	// nodesAccount: that would answer first, with "JetStream not enabled for account". No node may make the call.
	usageCall = "$JS.API.INFO"
)

func setAccounts(opts *server.Options, users []User) error {
	control, nodes := server.NewAccount(controlAccount), server.NewAccount(nodesAccount)
	toNodes, toControl := []*server.Account{nodes}, []*server.Account{control}
	if err := errors.Join(
		control.AddStreamExport(feedSubject+"*", toNodes),
		nodes.AddStreamImport(control, feedSubject+"*", ""),
		control.AddServiceExportWithResponse(infoCall, server.Singleton, toNodes),
		nodes.AddServiceImport(control, infoCall, infoCall),
		control.AddServiceExportWithResponse(usageCall, server.Singleton, toNodes),
		nodes.AddServiceImport(control, usageCall, usageCall),
		control.AddServiceExportWithResponse(readCall, server.Streamed, toNodes),
		nodes.AddServiceImport(control, readCall, readCall),
		nodes.AddStreamExport(reportSubject+"*", toControl),
		control.AddStreamImport(nodes, reportSubject+"*", ""),
		nodes.AddServiceExportWithResponse(controlSubject+"*", server.Singleton, toControl),
		control.AddServiceImport(nodes, controlSubject+"*", controlSubject+"*"),
	); err != nil {
		return fmt.Errorf("set up accounts: %w", err)
	}
	opts.Accounts = []*server.Account{control, nodes}
	for _, u := range users {
		nu := &server.User{Username: u.Name, Password: u.Password, Account: control}
		if !u.Control {
			nu.Account, nu.Permissions = nodes, nodePermissions(u)
		}
		opts.Users = append(opts.Users, nu)
	}
	if len(users) == 0 {
		// The log is in the same account with and without users, so that setting passwords later keeps it.
		opts.Users = []*server.User{{Username: localUser, Password: rand.Text(), Account: control}}
		opts.NoAuthUser = localUser
	}
	return nil
}

func nodePermissions(u User) *server.Permissions {
	node := u.Node
	if node == "" {
		node = "*"
	}
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{infoCall, readCall, reportSubject + node, dnsKeysSubject + "*"}},
		Subscribe: &server.SubjectPermission{Allow: []string{
			feedSubject + "*", reportSubject + "*", controlSubject + node, dnsKeysSubject + "*", inboxPrefix(u.Name) + ".>"}},
		Response: &server.ResponsePermission{MaxMsgs: 1, Expires: 10 * time.Second},
	}
}

// inboxPrefix is where a user gets its answers: no other user may listen there.
func inboxPrefix(user string) string {
	if user == "" {
		return "_INBOX"
	}
	return "_INBOX." + user
}

// enableLog gives the control account its JetStream; the server's options cannot say that.
func enableLog(ns *server.Server) error {
	acc, err := ns.LookupAccount(controlAccount)
	if err != nil {
		return fmt.Errorf("set up accounts: %w", err)
	}
	if err := acc.EnableJetStream(nil, nil); err != nil {
		return fmt.Errorf("open the log's store: %w", err)
	}
	return nil
}
