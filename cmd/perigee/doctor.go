package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"perigee/client"
	"perigee/config"
)

type doctorCmd struct {
	remote
	Timeout time.Duration `default:"3s" help:"How long each part may take to answer."`
}

// finding is the result of one check.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

// doctor is one examination.
type doctor struct {
	*doctorCmd
	a      *app
	cfg    *config.Config
	client *client.Client
	fleet  *client.Fleet // nil if the API did not give it
	all    []finding
}

// Run examines every part the configuration names, whether the ones before it are well or not.
func (c *doctorCmd) Run(a *app) error {
	d := &doctor{doctorCmd: c, a: a}
	var err error
	if d.client, err = c.connect(a); err != nil {
		return err
	}
	defer d.client.Close()
	if d.configuration() {
		for _, check := range []func(context.Context){d.dataDir, d.catalogue, d.storage, d.bus, d.api, d.strays, d.watches, d.dns, d.edges, d.admin} {
			ctx, cancel := context.WithTimeout(a.ctx, 4*c.Timeout)
			check(ctx)
			cancel()
			if a.ctx.Err() != nil {
				return a.ctx.Err()
			}
		}
	}
	return d.conclude()
}

// found notes a result and, for people, tells it at once.
func (d *doctor) found(check string, err error, advice, detail string, args ...any) {
	f := finding{Check: check, OK: err == nil, Detail: fmt.Sprintf(detail, args...)}
	if err != nil {
		f.Advice = advice
		if f.Detail != "" {
			f.Detail += ": "
		}
		f.Detail += err.Error()
	}
	d.all = append(d.all, f)
	if d.a.JSON {
		return
	}
	mark := "ok  "
	if !f.OK {
		mark = "FAIL"
	}
	fmt.Fprintf(d.a.stdout, "%s  %-14s %s\n", mark, f.Check, f.Detail)
	if f.Advice != "" {
		fmt.Fprintf(d.a.stdout, "      %-14s -> %s\n", "", f.Advice)
	}
}

func (d *doctor) conclude() error {
	bad := 0
	for _, f := range d.all {
		if !f.OK {
			bad++
		}
	}
	if d.a.JSON {
		if err := d.a.printJSON(map[string]any{"ok": bad == 0, "checks": d.all}); err != nil {
			return err
		}
	} else if bad > 0 {
		fmt.Fprintf(d.a.stdout, "%d of %s failed\n", bad, plural(len(d.all), "check"))
	}
	if bad > 0 {
		return failed(1)
	}
	return nil
}

// configuration reads the configuration; without one nothing else can be looked for.
func (d *doctor) configuration() bool {
	const advice = "correct the configuration; perigee config check tells when it is right"
	cfg, err := d.a.load()
	if err != nil {
		d.found("configuration", err, advice, "")
		return false
	}
	d.cfg = cfg
	if _, serr := os.Stat(filepath.Join(cfg.Data, "secrets.json")); serr == nil {
		s, serr := config.Secrets(cfg.Data)
		if serr != nil {
			d.found("secrets", serr, "only its owner may read the file, and it must be whole", "")
		}
		cfg.UseSecrets(s)
	}
	from := d.a.configFile()
	if from == "" {
		from = "defaults"
	}
	d.found("configuration", cfg.Validate(), advice, "%s", from)
	return true
}

// minDisk is how much room a data directory should have, in bytes.
const minDisk = 1 << 30

// dataDir looks whether this machine can write its data and has room for it. Without a directory there is nothing to
// look at: the roles run elsewhere, or have never been started.
func (d *doctor) dataDir(context.Context) {
	dir := d.cfg.Data
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		d.found("data directory", nil, "", "%s is not there yet; the first start makes it", dir)
		return
	}
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	if err == nil {
		err = tryToWrite(dir)
	}
	d.found("data directory", err, "give this user the directory (chown, chmod u+rwx), or name another with --data", "%s", dir)
	if err != nil {
		return
	}
	free, total, err := diskSpace(dir)
	if err == nil && free < minDisk {
		err = fmt.Errorf("less than %s is too little", humanBytes(minDisk))
	}
	d.found("disk", err, "make room, or move the data directory; a full disk stops uploads", "%s free of %s", humanBytes(free), humanBytes(total))
}

func tryToWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("ok")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// maxSkew is how far clocks may be apart: S3 refuses signatures that are 15 minutes off, and people compare times.
const maxSkew = time.Minute

// clock compares this machine's clock with the Date of an answer.
func (d *doctor) clock(who string, h http.Header) {
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return // no clock to compare with
	}
	skew := d.a.clock.Now().Sub(t).Round(time.Second)
	if skew.Abs() > maxSkew {
		d.found("clock", fmt.Errorf("%v apart from the clock of %s", skew.Abs(), who),
			"set the clock, best by NTP: storage refuses requests whose time is 15 minutes off, and ages and leases come out wrong", "")
		return
	}
	d.found("clock", nil, "", "within %v of the clock of %s", skew.Abs()+time.Second, who)
}
