package farm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"perigee/object"
)

// counts are requests and bytes of bodies by kind.
type counts struct{ web, pointers, blobs, trees, bytes atomic.Int64 }

// Counts is what was read from a farm since its start.
type Counts struct {
	Web      int64 `json:"web"`      // requests to the plain origin
	Pointers int64 `json:"pointers"` // reads of pointers
	Blobs    int64 `json:"blobs"`    // reads of blobs, whole or in part
	Trees    int64 `json:"trees"`
	Bytes    int64 `json:"bytes"` // of bodies of web and blobs
}

// Counts returns what was read so far.
func (f *Farm) Counts() Counts {
	c := &f.counts
	return Counts{c.web.Load(), c.pointers.Load(), c.blobs.Load(), c.trees.Load(), c.bytes.Load()}
}

// Handler serves the farm: /web/SIZE/N as a plain origin, /counts, and everything else as a bucket named perigee.
func (f *Farm) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /web/", func(w http.ResponseWriter, r *http.Request) {
		size, n, ok := parsePath(strings.TrimPrefix(r.URL.Path, "/web"))
		if !ok || n < 0 || n >= f.kinds[size] {
			http.NotFound(w, r)
			return
		}
		f.counts.web.Add(1)
		w.Header().Set("Cache-Control", "max-age=86400")
		w.Header().Set("Etag", fmt.Sprintf(`"%d-%d"`, size, n))
		f.send(w, r, f.content.Bytes(size, n))
	})
	m.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(f.Counts())
	})
	m.HandleFunc("/perigee/", f.bucket)
	return m
}

func (f *Farm) send(w http.ResponseWriter, r *http.Request, b []byte) {
	w = counted{w, &f.counts.bytes}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", made, bytes.NewReader(b))
}

// bucket answers as S3 does what an edge asks of it: HEAD of the bucket, ListObjectsV2 of the sites, GET of records and blobs, ranges too.
func (f *Farm) bucket(w http.ResponseWriter, r *http.Request) {
	key := object.Key(strings.TrimPrefix(r.URL.Path, "/perigee/"))
	w.Header().Set("Etag", `"farm"`)
	if r.Method == http.MethodPut { // of the API's default site: taken, and forgotten
		io.Copy(io.Discard, r.Body)
		return
	}
	var o id
	known := true
	switch {
	case key == "" && r.URL.Query().Get("list-type") == "2":
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>perigee</Name><Prefix>s/</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys>`+
			`<IsTruncated>false</IsTruncated><Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"farm"</ETag><Size>%d</Size>`+
			`<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>`, object.SiteKey(site), len(f.sites))
		return
	case key == "":
		return
	case key == object.SiteKey(site):
		f.record(w, r, f.sites)
		return
	case strings.HasPrefix(string(key), "p/"):
		f.counts.pointers.Add(1)
		if o, known = f.heads[keyHash(key)]; known {
			f.record(w, r, f.pointer(o))
			return
		}
	case strings.HasPrefix(string(key), "b/"):
		f.counts.blobs.Add(1)
		if o, known = f.blobs[keyHash(key)]; known {
			f.send(w, r, f.content.Bytes(o.size, o.n))
			return
		}
	case strings.HasPrefix(string(key), "t/"):
		f.counts.trees.Add(1)
		if o, known = f.blobs[keyHash(key)]; known {
			f.record(w, r, f.tree(o))
			return
		}
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Message>no such key</Message><Key>%s</Key></Error>`, key)
}

func (f *Farm) record(w http.ResponseWriter, r *http.Request, b []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", made, bytes.NewReader(b))
}

// counted counts the bytes of a body.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}
