package dnsgeo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/dnsgeo/sign"
)

// run starts a prepared server for the time of the test.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
}

// anchor writes a key as a trust anchor in the form of BIND.
func anchor(t *testing.T, key *sign.Key) string {
	t.Helper()
	ds := key.DS()
	file := filepath.Join(t.TempDir(), "anchor")
	text := fmt.Sprintf("trust-anchors { %s static-ds %d %d %d \"%s\"; };\n", ds.Hdr.Name, ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDelvValidates: the validator of BIND finds every kind of answer fully validated.
func TestDelvValidates(t *testing.T) {
	delv, err := exec.LookPath("delv")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("delv is not installed; it is in the Debian package bind9-dnsutils")
	} else if err != nil {
		t.Fatal(err)
	}
	r := newSigned(t, sign.Limits{}, nil)
	r.run()
	file := anchor(t, r.signer.Keys().Keys[0])
	const nodata = "ncache nxrrset" // also for NXNAME: the rcode is NOERROR, as delv does not set CO
	for _, x := range []struct{ what, name, qtype, want string }{
		{"steered", "www", "A", "127.0.1."},
		{"steered AAAA", "www", "AAAA", "::0.1.0."},
		{"steered apex", "", "A", "127.0.1."},
		{"static", "fixed", "A", "192.0.2.99"},
		{"MX with a name in mixed case", "upper", "MX", "MAIL.Perigee.Test."},
		{"HTTPS", "svc", "TYPE65", "RRSIG"},
		{"NODATA", "fixed", "AAAA", nodata},
		{"NODATA of a steered name", "www", "MX", nodata},
		{"empty non-terminal", "b.deep", "A", nodata},
		{"NXNAME", "nx.and.more", "A", nodata},
		{"NXNAME that looks like a wildcard", "*nx", "A", nodata},
		{"wildcard", "some.wild", "A", "192.0.2.77"},
		{"wildcard NODATA", "some.wild", "TXT", nodata},
		{"the wildcard itself", "*.wild", "A", "192.0.2.77"},
		{"wildcard CNAME", "some.cwild", "A", "127.0.1."},
		{"CNAME", "alias", "A", "127.0.1."},
		{"no DS", "plain", "DS", nodata},
		{"DS", "sub", "DS", "00112233"},
		{"DNSKEY", "", "DNSKEY", "257 3 13"},
		{"NS", "", "NS", "ns1.perigee.test."},
		{"SOA", "", "SOA", "hostmaster"},
		{"random case", "wWw", "A", "127.0.1."},
		{"random case, NODATA", "FiXed", "AAAA", nodata},
		{"random case, NXNAME", "nX.aND.mORe", "AAAA", nodata},
		{"random case, wildcard", "sOMe.wILd", "A", "192.0.2.77"},
		{"too large for UDP", "big", "TXT", "xxxxxxxx"},
	} {
		t.Run(x.what, func(t *testing.T) {
			name := strings.TrimPrefix(x.name+".perigee.test.", ".")
			out := runDelv(t, delv, r, file, name, x.qtype)
			if !strings.Contains(out, "fully validated") || strings.Contains(out, "unsigned answer") || !strings.Contains(out, x.want) {
				t.Errorf("%s %s, want %q:\n%s", name, x.qtype, x.want, out)
			}
		})
	}
	if out := runDelv(t, delv, r, file, "host.plain.perigee.test.", "A"); strings.Contains(out, "no valid") || strings.Contains(out, "fully validated") {
		t.Errorf("below an unsigned delegation:\n%s", out)
	}
	bad := r.signer.Keys().Keys[0].DS()
	bad.Digest = strings.Repeat("00", 32)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, fmt.Appendf(nil, "trust-anchors { perigee.test. static-ds %d 13 2 \"%s\"; };\n", bad.KeyTag, bad.Digest), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := runDelv(t, delv, r, other, "www.perigee.test.", "A"); strings.Contains(out, "fully validated") {
		t.Errorf("with another key as anchor:\n%s", out)
	}
}

// TestDelvValidatesThroughARollover: in each phase of a rollover BIND validates with the DS of every key that the parent may have then.
func TestDelvValidatesThroughARollover(t *testing.T) {
	delv, err := exec.LookPath("delv")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("delv is not installed; it is in the Debian package bind9-dnsutils")
	} else if err != nil {
		t.Fatal(err)
	}
	must := func(set *sign.KeySet, err error) *sign.KeySet {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	now := time.Now()
	ago := func(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }
	first := must(sign.Generate("perigee.test", 0, ago(300)))
	published := must(first.Roll(ago(1)))
	waiting := must(published.SeeDS(now, time.Hour))
	retired := must(must(first.Roll(ago(20))).SeeDS(ago(10), time.Hour))
	removed := must(must(first.Roll(ago(100))).SeeDS(ago(90), time.Hour))
	for _, phase := range []struct {
		what    string
		set     *sign.KeySet
		anchors []int // keys whose DS the parent may have
		signer  int
	}{{"published", published, []int{0}, 0}, {"waiting", waiting, []int{0, 1}, 0}, {"retired", retired, []int{0, 1}, 1}, {"removed", removed, []int{1}, 1}} {
		t.Run(phase.what, func(t *testing.T) {
			signer, err := sign.NewSigner(phase.set, now, sign.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			r := newSigned(t, sign.Limits{}, func(c *Config) { c.Signer = signer })
			r.run()
			for _, i := range phase.anchors {
				file := anchor(t, phase.set.Keys[i])
				for _, name := range []string{"www", "nx"} {
					out := runDelv(t, delv, r, file, name+".perigee.test.", "A")
					if !strings.Contains(out, "fully validated") {
						t.Errorf("%s with key %d as anchor:\n%s", name, i, out)
					}
				}
			}
			out := runDelv(t, delv, r, anchor(t, phase.set.Keys[phase.anchors[0]]), "www.perigee.test.", "A")
			if !strings.Contains(out, fmt.Sprintf(" %d perigee.test.", phase.set.Keys[phase.signer].Tag)) {
				t.Errorf("not signed by key %d:\n%s", phase.signer, out)
			}
		})
	}
}

func runDelv(t *testing.T, delv string, r *rig, anchor, name, qtype string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := r.Addr()
	// Delv reports "no answer" by its exit status too; what it prints is what counts.
	out, err := exec.CommandContext(ctx, delv, "@"+at.Addr().String(), "-p", fmt.Sprint(at.Port()), "-a", anchor, "+root=perigee.test", name, qtype).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}
