package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/clock"
	"perigee/fleet"
)

// sender takes reports and the times at which they came.
type sender struct {
	began time.Time

	mu      sync.Mutex
	reports []fleet.Report
	at      []time.Duration
	err     error
	during  func() // if not nil, called once while a report is being sent
}

// all returns the reports so far and their times.
func (s *sender) all() ([]fleet.Report, []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reports), slices.Clone(s.at)
}

// fail makes send fail with err from now on.
func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sender) send(r *fleet.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports, s.at = append(s.reports, *r), append(s.at, time.Since(s.began))
	if s.during != nil {
		s.during()
		s.during = nil
	}
	return s.err
}

// runReporter starts a reporter in a synctest bubble; stop ends it and waits.
func runReporter(t *testing.T, s *sender, log *slog.Logger) (r *fleet.Reporter, stop func()) {
	s.began = time.Now()
	r = fleet.NewReporter(clock.System, log, func(rep *fleet.Report) {
		rep.Node, rep.Role, rep.State = "fra", fleet.RoleEdge, fleet.Ready
	}, s.send)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	synctest.Wait()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestReporterReportsOnTimeAndOnKick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sender{}
		r, stop := runReporter(t, s, slog.New(slog.DiscardHandler))
		time.Sleep(fleet.ReportEvery + 100*time.Millisecond)
		synctest.Wait()
		s.mu.Lock()
		s.during = func() { // kicks during a report make one more, a little later, however many they are
			for range 5 {
				r.Kick()
			}
		}
		s.mu.Unlock()
		r.Kick()
		time.Sleep(fleet.ReportEvery)
		synctest.Wait()
		kick := fleet.ReportEvery + 100*time.Millisecond
		if _, at := s.all(); !slices.Equal(at, []time.Duration{0, fleet.ReportEvery, kick, kick + 5*time.Millisecond, 2 * fleet.ReportEvery}) {
			t.Errorf("reports at %v", at)
		}
		stop()
		reports, _ := s.all()
		for i, rep := range reports {
			if err := rep.Validate(); err != nil {
				t.Error(err)
			}
			if rep.Seq != uint64(i+1) || rep.Boot != reports[0].Boot || rep.Node != "fra" || rep.Role != fleet.RoleEdge {
				t.Errorf("report %d: %+v", i, rep)
			}
			want := fleet.Ready
			if i == len(reports)-1 {
				want = fleet.Stopping
			}
			if rep.State != want {
				t.Errorf("report %d of %d says %s", i+1, len(reports), rep.State)
			}
		}
		r.Kick() // after the end it must not block
		r.Kick()
	})
}

// A board that hears the reports of two starts takes the second one's, though its sequence begins anew.
func TestReporterBootsDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := fleet.NewBoard(clock.System)
		var boots []string
		for range 2 {
			s := &sender{}
			_, stop := runReporter(t, s, slog.New(slog.DiscardHandler))
			reports, _ := s.all()
			if err := board.Receive(&reports[0]); err != nil {
				t.Fatal(err)
			}
			if !board.Snapshot().Find("fra").Fit() {
				t.Error("not fit after a report of a new start")
			}
			stop()
			reports, _ = s.all()
			last := reports[len(reports)-1]
			if err := board.Receive(&last); err != nil || board.Snapshot().Find("fra").Fit() {
				t.Errorf("fit after its last report: %v", err)
			}
			boots = append(boots, last.Boot)
		}
		if boots[0] == boots[1] || len(boots[0]) != 16 {
			t.Errorf("boots %q", boots)
		}
	})
}

// A bus that is gone is complained about once, and again after it had been back.
func TestReporterComplainsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &sender{err: errors.New("no bus")}
		_, stop := runReporter(t, s, slog.New(slog.NewTextHandler(&log, nil)))
		complaints := func() int {
			synctest.Wait() // the reporter is asleep: nobody writes log
			return strings.Count(log.String(), "reports do not reach the bus")
		}
		time.Sleep(10 * fleet.ReportEvery)
		if n := complaints(); n != 1 {
			t.Errorf("%d complaints:\n%s", n, log.String())
		}
		if reports, _ := s.all(); len(reports) < 10 {
			t.Errorf("%d reports: it gave up", len(reports))
		}
		s.fail(nil)
		time.Sleep(2 * fleet.ReportEvery)
		s.fail(errors.New("no bus again"))
		time.Sleep(2 * fleet.ReportEvery)
		if n := complaints(); n != 2 {
			t.Errorf("%d complaints:\n%s", n, log.String())
		}
		stop()
		reports, _ := s.all()
		if last := reports[len(reports)-1]; last.State != fleet.Stopping {
			t.Errorf("the last report says %s", last.State)
		}
	})
}
