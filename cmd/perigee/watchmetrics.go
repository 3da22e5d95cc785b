package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perigee/origin/watch"
)

// registerWatch registers what the watcher counts.
func registerWatch(reg prometheus.Registerer, w *watch.Watcher) {
	counter := func(name, help string, f func(watch.Counts) int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "perigee_watch_" + name, Help: help},
			func() float64 { return float64(f(w.Counts())) }))
	}
	counter("looks_total", "Objects of bucket sites that were looked at.", func(c watch.Counts) int64 { return c.Looks })
	counter("changes_total", "Objects of bucket sites that were found new, changed or gone.", func(c watch.Counts) int64 { return c.Changes })
	counter("events_total", "Objects of bucket sites that notifications have named.", func(c watch.Counts) int64 { return c.Events })
	counter("missed_total", "Changes of bucket sites that a listing has found and no notification had told of.", func(c watch.Counts) int64 { return c.Missed })
	reg.MustRegister(watchCollector{w})
}

// watchCollector tells of each site that is watched.
type watchCollector struct{ w *watch.Watcher }

var (
	watchCycle  = prometheus.NewDesc("perigee_watch_cycle_seconds", "How long a change that no notification tells of takes to be found, at most; 0 before the first listing has ended.", []string{"site"}, nil)
	watchListed = prometheus.NewDesc("perigee_watch_listed_objects", "Objects that the last complete listing had.", []string{"site"}, nil)
	watchWell   = prometheus.NewDesc("perigee_watch_well", "1 while a node watches the site and nothing is wrong.", []string{"site"}, nil)
)

// Describe implements prometheus.Collector.
func (c watchCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- watchCycle
	ch <- watchListed
	ch <- watchWell
}

// Collect implements prometheus.Collector.
func (c watchCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	list, err := c.w.Status(ctx)
	if err != nil {
		return // the catalogue's own trouble
	}
	for _, s := range list {
		well := 0.0
		if s.Trouble == "" {
			well = 1
		}
		ch <- prometheus.MustNewConstMetric(watchWell, prometheus.GaugeValue, well, string(s.Site))
		ch <- prometheus.MustNewConstMetric(watchCycle, prometheus.GaugeValue, float64(s.CycleSeconds), string(s.Site))
		if s.Last != nil {
			ch <- prometheus.MustNewConstMetric(watchListed, prometheus.GaugeValue, float64(s.Last.Listed), string(s.Site))
		}
	}
}
