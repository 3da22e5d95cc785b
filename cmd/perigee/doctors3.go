package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"perigee/client"
	"perigee/config"
	"perigee/object"
	"perigee/origin"
	"perigee/origin/contract"
)

// doctorCmds are the doctor of everything, who comes when nobody else is named, and that of the bucket.
type doctorCmds struct {
	All doctorCmd   `cmd:"" default:"withargs" help:"Look at every part; the word all may be left away."`
	S3  doctorS3Cmd `cmd:"" name:"s3" help:"Run all that Perigee relies on against the bucket, and compare its records with the catalogue."`
}

type doctorS3Cmd struct {
	remote
	Keys     int `default:"100000" help:"How many keys of the bucket are looked at; 0 for all."`
	Contents int `default:"200" help:"How many blobs, trees and records of versions are read and verified, of each kind, drawn at random; at most 512 MiB in all."`
	Pointers int `default:"1000" help:"How many pointers are compared with the catalogue, from each side; 0 for all."`
}

// s3Finding is a finding about the bucket. One of level limited does not make it unfit.
type s3Finding struct {
	finding
	Level contract.Level `json:"level"`
}

// s3Doctor is one examination of the bucket.
type s3Doctor struct {
	*doctorS3Cmd
	a      *app
	client *client.Client
	reader *origin.Reader
	all    []s3Finding
}

// Run tries the contract and looks at what lies in the bucket.
func (c *doctorS3Cmd) Run(a *app) error {
	cfg, err := a.bucketConfig()
	if err != nil {
		return err
	}
	d := &s3Doctor{doctorS3Cmd: c, a: a}
	if d.client, err = c.connect(a); err != nil {
		return err
	}
	defer d.client.Close()
	if d.reader, err = origin.NewReader(cfg); err != nil {
		return err
	}
	defer d.reader.Close()
	err = d.reader.Check(a.ctx)
	d.found(contract.Vital, "bucket", err, "correct the keys below storage in the configuration, or start the storage", "%s", cfg)
	if err == nil {
		if err := d.contract(cfg); err != nil {
			return err
		}
		d.foreign()
		d.records()
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	return d.conclude()
}

// bucketConfig is the bucket for those who may write, as this machine is configured.
func (a *app) bucketConfig() (origin.Config, error) {
	cfg, err := a.load()
	if err != nil {
		return origin.Config{}, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "secrets.json")); err == nil {
		s, err := config.Secrets(cfg.Data)
		if err != nil {
			return origin.Config{}, err
		}
		cfg.UseSecrets(s)
	}
	if err := cfg.Validate(); err != nil {
		return origin.Config{}, err
	}
	if s := cfg.Storage; s.AccessKey == "" && s.EdgeAccessKey != "" {
		return origin.Config{}, errors.New("this machine has only the key of edges, which may not write: run it where storage.access_key is set, as on the machine of the API")
	}
	b := bucketOf(cfg.Storage)
	b.Clock = a.clock
	return b, nil
}

// contract runs all checks below a prefix that nobody else has. The error says that there could be none.
func (d *s3Doctor) contract(cfg origin.Config) error {
	var id [8]byte
	rand.Read(id[:])
	prefix := object.ScratchPrefix + hex.EncodeToString(id[:]) + "/"
	b, err := contract.Open(d.a.ctx, cfg, prefix)
	if err != nil {
		return err
	}
	defer b.Close()
	if n, err := b.Sweep(d.a.ctx, object.ScratchPrefix); n > 0 || err != nil {
		d.found(contract.Limited, "leftovers", err, "the key must be allowed to list and delete", "%s of earlier runs that were killed, removed", plural(n, "object"))
	}
	d.say("Some 150 MB are written below %s and removed again. If this is killed, they stay until it is run an hour later or more.\n", prefix)
	for _, c := range contract.Checks() {
		err := b.Try(d.a.ctx, c)
		if d.a.ctx.Err() != nil {
			return nil
		}
		advice := c.Without
		if errors.Is(err, origin.ErrDenied) {
			advice = "The key may not do this: it needs s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket, s3:AbortMultipartUpload, " +
				"s3:ListBucketMultipartUploads and s3:ListMultipartUploadParts. If it has them: " + c.Without
		}
		d.found(c.Level, c.Name, err, advice, "")
	}
	return nil
}

// found notes a result and, for people, tells it at once.
func (d *s3Doctor) found(level contract.Level, check string, err error, advice, detail string, args ...any) {
	f := s3Finding{finding{Check: check, OK: err == nil, Detail: fmt.Sprintf(detail, args...)}, level}
	mark := "ok   "
	if err != nil {
		f.Advice = advice
		if f.Detail != "" {
			f.Detail += ": "
		}
		f.Detail += err.Error()
		mark = "FAIL "
		if level == contract.Limited {
			mark = "LACKS"
		}
	}
	d.all = append(d.all, f)
	d.say("%s %-40s %s\n", mark, f.Check, f.Detail)
	if f.Advice != "" {
		d.say("      -> %s\n", f.Advice)
	}
}

// say tells people.
func (d *s3Doctor) say(format string, args ...any) {
	if !d.a.JSON {
		fmt.Fprintf(d.a.stdout, format, args...)
	}
}

func (d *s3Doctor) conclude() error {
	failures, lacks := 0, 0
	for _, f := range d.all {
		switch {
		case !f.OK && f.Level == contract.Limited:
			lacks++
		case !f.OK:
			failures++
		}
	}
	if d.a.JSON {
		if err := d.a.printJSON(map[string]any{"ok": failures == 0, "lacks": lacks, "checks": d.all}); err != nil {
			return err
		}
	}
	switch {
	case failures > 0:
		d.say("%d of %s failed: what is marked FAIL has to be put right\n", failures, plural(len(d.all), "check"))
		return failed(1)
	case lacks > 0:
		d.say("The bucket serves, within the limits of %s marked LACKS\n", plural(lacks, "check"))
	default:
		d.say("The bucket serves without limits\n")
	}
	return nil
}
