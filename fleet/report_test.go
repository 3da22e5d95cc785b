package fleet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perigee/clock"
	"perigee/fleet"
	"perigee/object"
	"perigee/purge"
)

// full is a report with as much in it as Validate lets pass, each part as long as it gets, of an edge that follows four regions.
func full() *fleet.Report {
	name := strings.Repeat("n", 60)
	r := report(name+"000", math.MaxUint64, fleet.Stopping)
	r.Boot, r.Version = strings.Repeat("b", 128), strings.Repeat("v", 128)
	r.Place = fleet.Place{Name: strings.Repeat("\u00fc", 64), Country: "DE", Lat: -89.12345678901234, Lon: -179.12345678901234}
	r.Addrs = nil
	for range fleet.MaxAddrs {
		r.Addrs = append(r.Addrs, netip.MustParseAddrPort("[2001:1db8:1111:1111:1111:1111:1111:1111]:65535"))
	}
	r.Load = fleet.Load{Requests: 1234567.1234567, Conns: math.MaxInt64, CPU: 0.12345678901234, Memory: math.MaxInt64, Sent: 123456789012.12345, Headroom: 0.12345678901234}
	r.Cache = &fleet.CacheUse{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64}
	r.Lease, r.Blind = math.MaxInt64, true
	for i := range 4 {
		r.Position = r.Position.With(fmt.Sprintf("%s%d", name, i), purge.Mark{Stream: strings.Repeat("s", 40), Seq: math.MaxUint64, Hash: object.Hash{0: 1}})
	}
	r.Probes = map[string]fleet.Verdict{}
	for i := range fleet.MaxProbes {
		r.Probes[fmt.Sprintf("%s%03d", name, i)] = fleet.Verdict{For: math.MaxInt64, Err: strings.Repeat("e", 24)}
	}
	for i := range fleet.MaxRTT {
		p := netip.MustParsePrefix(fmt.Sprintf("2001:1db8:10%02x::/48", i))
		r.RTT = append(r.RTT, fleet.PrefixRTT{Prefix: p, Micros: fleet.MaxMicros, N: math.MaxUint16})
	}
	return r
}

func TestFullReportIsSmall(t *testing.T) {
	r := full()
	b := fleet.EncodeReport(r)
	if len(b) >= fleet.MaxReportBytes {
		t.Errorf("%d bytes", len(b))
	}
	got, err := fleet.DecodeReport(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fleet.EncodeReport(got), b) {
		t.Error("it does not survive the way there and back")
	}
}

func TestReportsAreChecked(t *testing.T) {
	set := func(p string, us uint32, n uint16) func(*fleet.Report) {
		return func(r *fleet.Report) { r.RTT = []fleet.PrefixRTT{{netip.MustParsePrefix(p), us, n}} }
	}
	verdict := func(edge string, v fleet.Verdict) func(*fleet.Report) {
		return func(r *fleet.Report) { r.Probes = map[string]fleet.Verdict{edge: v} }
	}
	for name, change := range map[string]func(*fleet.Report){
		"too many verdicts":  func(r *fleet.Report) { *r = *full(); r.Probes["one-more"] = fleet.Verdict{} },
		"too many trips":     func(r *fleet.Report) { *r = *full(); r.RTT = append(r.RTT, r.RTT[0]) },
		"too many addresses": func(r *fleet.Report) { *r = *full(); r.Addrs = append(r.Addrs, r.Addrs[0]) },
		"a long place":       func(r *fleet.Report) { r.Place.Name = strings.Repeat("x", 129) },
		"no edge":            verdict("No Edge", fleet.Verdict{}),
		"negative":           verdict("fra", fleet.Verdict{For: -1}),
		"a sentence":         verdict("fra", fleet.Verdict{Err: "it is down"}),
		"a long word":        verdict("fra", fleet.Verdict{Err: strings.Repeat("e", 25)}),
		"an address":         set("192.0.2.1/32", 1, 1),
		"host bits":          set("192.0.2.1/24", 1, 1),
		"half a network":     set("2001:db8::/64", 1, 1),
		"mapped":             set("::ffff:192.0.2.0/120", 1, 1),
		"no time":            set("192.0.2.0/24", 0, 1),
		"more than a minute": set("192.0.2.0/24", fleet.MaxMicros+1, 1),
		"no connection":      set("192.0.2.0/24", 1, 0),
	} {
		r := report("fra", 1, fleet.Ready)
		change(r)
		if err := r.Validate(); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := json.Marshal(r); err == nil {
			if _, err := fleet.DecodeReport(b); !errors.Is(err, object.ErrInvalid) {
				t.Errorf("%s decoded: %v", name, err)
			}
		}
	}
	for _, text := range []string{
		`{"format":1,"node":"fra","state":"ready"} {}`, `{"format":1,"node":"fra","state":"ready","rtt":[{"p":"192.0.2.0/24","us":-1,"n":1}]}`,
		`{"format":1,"node":"fra","state":"ready","rtt":[{"p":"192.0.2.0/24","us":1,"n":70000}]}`, `{"format":1,"node":"fra","state":"ready","blind":1}`,
	} {
		if _, err := fleet.DecodeReport([]byte(text)); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
	// A fleet is upgraded one node after the other.
	if _, err := fleet.DecodeReport([]byte(`{"format":1,"node":"fra","state":"ready","of_a_later_version":1}`)); err != nil {
		t.Error(err)
	}
}

// What is known of clients stays out of snapshots, which are shown and saved.
func TestBoardKeepsNoPrefixes(t *testing.T) {
	b := fleet.NewBoard(clock.System)
	r := full()
	if err := b.Receive(r); err != nil {
		t.Fatal(err)
	}
	if len(b.Snapshot().Nodes[0].RTT) != 0 || len(r.RTT) != fleet.MaxRTT {
		t.Error("the board keeps round trips, or took them from the report")
	}
	file := filepath.Join(t.TempDir(), "fleet.json")
	if err := b.Save(file); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || bytes.Contains(data, []byte("2001:1db8:10")) {
		t.Errorf("prefixes of clients are in the file: %v", err)
	}
}
