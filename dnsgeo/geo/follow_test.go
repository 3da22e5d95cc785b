package geo

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/geo/geotest"
)

// follow is a Follower of one file in a directory of its own, polled by hand.
type follow struct {
	*testing.T
	file string
	logs bytes.Buffer
	*Follower
	stamp time.Time
}

func newFollow(t *testing.T, first geotest.Records) *follow {
	f := &follow{T: t, file: filepath.Join(t.TempDir(), "geo.mmdb"), stamp: time.Unix(geotest.Epoch, 0)}
	if first != nil {
		f.write(first, geotest.Epoch)
	}
	f.open()
	return f
}

func (f *follow) open() {
	f.Helper()
	var err error
	if f.Follower, err = OpenFiles([]string{f.file}, clock.System, slog.New(slog.NewTextHandler(&f.logs, nil))); err != nil {
		f.Fatal(err)
	}
}

// write puts a database in place of the file, with a time of its own.
func (f *follow) write(r geotest.Records, epoch int64) {
	f.Helper()
	geotest.WriteFile(f, f.file, "GeoLite2-City", epoch, r)
	f.touch()
}

func (f *follow) touch() {
	f.Helper()
	f.stamp = f.stamp.Add(time.Second)
	if err := os.Chtimes(f.file, f.stamp, f.stamp); err != nil {
		f.Fatal(err)
	}
}

func (f *follow) country() string {
	p, _ := f.holder.Current().Lookup(canaries[0])
	return p.Country
}

func (f *follow) polls(n int) {
	for range n {
		f.poll()
	}
}

// all has every canary, and much beside, in one country.
func all(country string) geotest.Records {
	r := halves()
	for n := range r {
		if !strings.HasPrefix(n, "2") {
			r[n] = nested(country, "", 52, 5)
		}
	}
	r["8.8.8.8/32"] = nested(country, "", 52, 5)
	return r
}

func TestFollowTakesWhatHasSettled(t *testing.T) {
	f := newFollow(t, nil)
	if f.Found() || f.country() != "US" {
		t.Fatalf("without a file: %v, %s", f.Found(), f.country())
	}
	f.write(all("NL"), geotest.Epoch)
	f.polls(1)
	if f.country() != "US" {
		t.Error("a file was taken at first sight")
	}
	f.touch() // somebody still writes
	f.polls(1)
	if f.country() != "US" {
		t.Error("a file was taken that had just changed")
	}
	f.polls(1)
	if f.country() != "NL" {
		t.Fatalf("the file was not taken: %s", f.logs.String())
	}
	used := f.holder.Current()
	f.touch()
	f.polls(3)
	if f.holder.Current() != used || f.holder.Counters().Swaps.Load() != 1 {
		t.Error("a file that was only touched was read again")
	}
	if err := os.Remove(f.file); err != nil {
		t.Fatal(err)
	}
	f.polls(3)
	if f.holder.Current() != used {
		t.Error("a file that went away took the data with it")
	}
	f.write(all("SE"), geotest.Epoch+1)
	f.polls(2)
	if f.country() != "SE" {
		t.Errorf("the file came back and was not taken: %s", f.logs.String())
	}
}

func TestFollowLeavesWhatIsRefused(t *testing.T) {
	f := newFollow(t, all("NL"))
	if !f.Found() || f.country() != "NL" {
		t.Fatalf("%v, %s", f.Found(), f.country())
	}
	f.write(all("SE"), geotest.Epoch-1)
	f.polls(5)
	if f.country() != "NL" || strings.Count(f.logs.String(), "is not used") != 1 {
		t.Errorf("%s; %s", f.country(), f.logs.String())
	}
	// The operator insists.
	id, err := Identity(f.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Verdict{Accept: id}).Write(f.file); err != nil {
		t.Fatal(err)
	}
	f.touch()
	f.polls(2)
	if f.country() != "SE" {
		t.Errorf("not by force either: %s", f.logs.String())
	}
}

// TestFollowRollsBack: the file from before is put back, with a verdict, as `perigee geo rollback` does.
func TestFollowRollsBack(t *testing.T) {
	f := newFollow(t, all("NL"))
	before := f.holder.Current()
	f.write(all("SE"), geotest.Epoch+1)
	f.polls(2)
	after := f.holder.Current()
	if f.country() != "SE" {
		t.Fatal(f.logs.String())
	}
	f.write(all("NL"), geotest.Epoch)
	if err := (Verdict{Accept: before.Identity(), Reject: after.Identity()}).Write(f.file); err != nil {
		t.Fatal(err)
	}
	f.polls(2)
	if f.holder.Current() != before || f.holder.Counters().Rollbacks.Load() != 1 {
		t.Errorf("%s: %s", f.country(), f.logs.String())
	}
	f.write(all("SE"), geotest.Epoch+1)
	f.polls(3)
	if f.country() != "NL" || !strings.Contains(f.logs.String(), "rolled back") {
		t.Errorf("what was rolled back is taken again: %s", f.logs.String())
	}
}

func TestOpenFilesFallsBackOnThePrevious(t *testing.T) {
	f := &follow{T: t, file: filepath.Join(t.TempDir(), "geo.mmdb")}
	if err := os.WriteFile(f.file, []byte("half a datab"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFiles([]string{f.file}, clock.System, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), f.file) {
		t.Fatalf("a broken file was opened: %v", err)
	}
	geotest.WriteFile(t, Previous(f.file), "GeoLite2-City", geotest.Epoch, all("NL"))
	f.open()
	if f.country() != "NL" || !strings.Contains(f.logs.String(), "level=ERROR") {
		t.Errorf("%s: %s", f.country(), f.logs.String())
	}
}

func TestFollowRunEnds(t *testing.T) {
	f := newFollow(t, nil)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Follower.Run(ctx); close(done) }()
		time.Sleep(pollEvery / 2)
		f.write(all("NL"), geotest.Epoch)
		time.Sleep(3 * pollEvery)
		synctest.Wait()
		if f.country() != "NL" {
			t.Errorf("the file was not taken: %s", f.logs.String())
		}
		cancel()
		<-done
	})
}

func TestReadVerdict(t *testing.T) {
	first := filepath.Join(t.TempDir(), "geo.mmdb")
	if v, err := ReadVerdict(first); err != nil || v != (Verdict{}) {
		t.Errorf("%+v, %v", v, err)
	}
	want := Verdict{Accept: "a", Reject: "b"}
	if err := want.Write(first); err != nil {
		t.Fatal(err)
	}
	if v, err := ReadVerdict(first); err != nil || v != want {
		t.Errorf("%+v, %v", v, err)
	}
	if err := os.WriteFile(verdictFile(first), bytes.Repeat([]byte(" "), 2*maxVerdict), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadVerdict(first); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("%v", err)
	}
}
