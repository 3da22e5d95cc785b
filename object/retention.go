package object

import "time"

// Retention says which old versions of a path are kept. The current version always is. Without a rule all are kept.
type Retention struct {
	// Versions keeps so many of the newest, the current one counted, deletions not. 0 keeps none for this reason.
	Versions int64 `json:"versions,omitempty" doc:"So many of the newest are kept, the current one counted"`
	// Age keeps what was replaced less than so many seconds ago. 0 keeps none for this reason.
	Age int64 `json:"age,omitempty" doc:"What was replaced less than so many seconds ago is kept"`
}

// maxKept is the largest Retention.Versions.
const maxKept = 1_000_000

// Validate checks the rule. Errors wrap ErrInvalid and say what to write instead.
func (r *Retention) Validate() error {
	switch {
	case r.Versions < 0 || r.Versions > maxKept:
		return invalid("retention: versions is %d: it must be 1 to %d, or be left out", r.Versions, maxKept)
	case r.Age < 0 || r.Age > maxTTL:
		return invalid("retention: age is %d: it must be 1 to %d seconds, or be left out", r.Age, int64(maxTTL))
	case r.Versions == 0 && r.Age == 0:
		return invalid("retention: give versions, age or both; to keep all versions leave retention out, to keep the current one alone write \"versions\": 1")
	}
	return nil
}

// Expired returns which versions of a path are not to be kept at a time: those that neither Versions nor Age keeps. all are the versions of the path, the
// newest first, the first one the current one.
func (r *Retention) Expired(all []Pointer, now time.Time) []Version {
	var out []Version
	live := int64(0)
	for i := range all {
		if all[i].State == Live {
			live++
		}
		if i == 0 || live <= r.Versions {
			continue
		}
		if replaced := all[i-1].Version.Time(); r.Age > 0 && now.Sub(replaced) < time.Duration(r.Age)*time.Second {
			continue
		}
		out = append(out, all[i].Version)
	}
	return out
}
