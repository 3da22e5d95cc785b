package upload

import (
	"github.com/prometheus/client_golang/prometheus"

	"perigee/catalog"
)

// RegisterMetrics registers what the collector of p has done and has before it. They cost no request: what is waiting is counted by each run.
func RegisterMetrics(reg prometheus.Registerer, p *Publisher) {
	c := &p.collected
	for _, m := range []struct {
		name, help string
		value      interface{ Load() int64 }
	}{
		{"runs_total", "Rounds of the collector, one a minute.", &c.runs},
		{"failed_runs_total", "Rounds that met an error; the next one tries again.", &c.failedRuns},
		{"deleted_blobs_total", "Blobs that were deleted from the storage because nothing refers to them.", &c.deleted},
		{"deleted_bytes_total", "Bytes of them.", &c.deletedBytes},
		{"failed_deletes_total", "Blobs that could not be deleted; they are tried again.", &c.failures},
		{"kept_blobs_total", "Condemned blobs that were needed again before they were deleted.", &c.kept},
		{"dropped_references_total", "References that a crash had left, whose version was never recorded.", &c.dropped},
		{"removed_versions_total", "Versions that were removed, by retention or on demand.", &c.removed},
	} {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "perigee_gc_" + m.name, Help: m.help}, func() float64 { return float64(m.value.Load()) }))
	}
	reg.MustRegister(collectorState{p})
}

// collectorState tells what the collector has before it, and when it last succeeded. What is not known yet is left out.
type collectorState struct{ p *Publisher }

var (
	gcSucceeded  = prometheus.NewDesc("perigee_gc_last_success_timestamp_seconds", "When a round last ended without an error.", nil, nil)
	gcBlobs      = prometheus.NewDesc("perigee_gc_blobs", "Blobs that nothing refers to: condemned, or deleting, which are looked at once more.", []string{"state"}, nil)
	gcBytes      = prometheus.NewDesc("perigee_gc_bytes", "Bytes of them.", []string{"state"}, nil)
	gcStrays     = prometheus.NewDesc("perigee_gc_strays", "Objects of the storage that the catalogue does not know, as of the last listing. They are not deleted.", nil, nil)
	gcStrayBytes = prometheus.NewDesc("perigee_gc_stray_bytes", "Bytes of them.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s collectorState) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{gcSucceeded, gcBlobs, gcBytes, gcStrays, gcStrayBytes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s collectorState) Collect(ch chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	if at := s.p.collected.succeeded.Load(); at != 0 {
		tell(gcSucceeded, at)
	}
	if waning := s.p.collected.waning.Load(); waning != nil {
		for _, state := range []catalog.BlobState{catalog.BlobCondemned, catalog.BlobDeleting} {
			tell(gcBlobs, (*waning)[state].Blobs, string(state))
			tell(gcBytes, (*waning)[state].Bytes, string(state))
		}
	}
	if strays := s.p.strays.Load(); strays != nil {
		tell(gcStrays, strays.Objects)
		tell(gcStrayBytes, strays.Bytes)
	}
}
