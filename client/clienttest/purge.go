package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"

	"perigee/client"
	"perigee/purge"
)

func (s *Server) purge(w http.ResponseWriter, r *http.Request) {
	var o client.PurgeOrder
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		problem(w, 400, "invalid-json", err.Error())
		return
	}
	if len(o.URLs)+len(o.Prefixes)+len(o.Tags) == 0 && !o.All {
		problem(w, 400, "invalid", "the purge names nothing")
		return
	}
	s.mu.Lock()
	id := fmt.Sprintf("purge-%d", len(s.purges)+1)
	s.purges[id] = &order{site: r.PathValue("site"), order: o}
	s.mu.Unlock()
	if r.URL.Query().Get("wait") == "" {
		answer(w, 202, map[string]any{"id": id, "position": position(1)})
		return
	}
	answer(w, 200, s.status(id))
}

func position(n uint64) purge.Position { return purge.At("local", purge.Mark{Stream: "test", Seq: n}) }

func (s *Server) status(id string) client.Proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.purges[id]
	o.asked++
	done := o.asked > s.Lagging
	p := client.Proof{ID: id, Position: position(1), Effective: done}
	for i, node := range []string{"fra", "nyc", "sin"} {
		ms := 3.5 * float64(i+1)
		e := client.EdgeProof{Node: node, Applied: true, MS: &ms}
		if node == "sin" && !done {
			e.Applied, e.MS = false, nil
		}
		p.Edges = append(p.Edges, e)
	}
	return p
}

func (s *Server) proof(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	known := s.purges[r.PathValue("id")] != nil
	s.mu.Unlock()
	if !known {
		problem(w, 404, "not-found", "no such purge")
		return
	}
	answer(w, 200, s.status(r.PathValue("id")))
}

func explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"site":%q,"path":%q,"ip":%q,"place":{"country":"GB","city":"London","lat":51.5,"lon":-0.1,"known":true},
		"geo":{"source":"built in","built":"2026-06-05"},
		"candidates":[{"node":"fra","km":637.4,"state":"ready","down":false,"reason":"nearest","addrs":["127.0.1.1:8100"]},
			{"node":"nyc","km":5570,"state":"draining","down":false,"reason":"draining","addrs":["127.0.1.2:8100"]}],
		"chosen":"fra","answer":{"type":"A","addr":"127.0.1.1","ttl":20,"scope":"81.2.69.0/24"},
		"edge":{"outcome":"hit","reason":"hit","pointer":null,"blob":"ram"}}`, q.Get("site"), q.Get("path"), q.Get("ip"))
}

func whatIf(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("drain") == "moon" {
		problem(w, 404, "not-found", "edge \"moon\" does not exist")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"moved":{"ipv4":0.5,"ipv6":0.25,"demand":0.4},"moves":[{"from":%q,"to":"nyc","ipv4":0.3,"ipv6":0.15,"demand":0.25},
		{"from":%q,"to":"sin","ipv4":0.2,"ipv6":0.1,"demand":0.15}],"edges":[]}`, q.Get("drain"), q.Get("drain"))
}
