package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"perigee/object"
	"perigee/origin"
)

// The ways to send a large file. The first three go straight to the bucket: AWS's SDK as it comes, AWS's library on top of it, and the writer that Perigee uses.
const (
	direct  = "direct"
	library = "transfermanager"
	writer  = "own writer"
)

var ways = []string{direct, library, writer, "PUT", "tus", "form"}

// The pipeline's own sizes, which the direct ways use too.
const (
	partSize      = 8 << 20
	partsInFlight = 3
)

// sending is what a client is told to do.
type sending struct {
	Way, Name string
	Size      int64 // bytes
	API       string
	S3        s3Access
}

// outcome is what it says when it has.
type outcome struct {
	Rate float64 // bytes a second
	Peak int64   // bytes that were resident
	CPU  float64 `json:"-"` // seconds of all processes, a GB
}

// send has a client of its own process do it.
func (s *system) send(what sending) (outcome, error) {
	what.API, what.S3 = s.api, s.s3
	in, err := json.Marshal(what)
	if err != nil {
		return outcome{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return outcome{}, err
	}
	before := s.cpu()
	c := exec.Command(self, "send", string(in))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return outcome{}, err
	}
	used := s.cpu() - before + c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	o := outcome{CPU: used.Seconds() / (float64(what.Size) / 1e9)}
	return o, json.Unmarshal(out, &o)
}

// sendAsChild is the client.
func sendAsChild(in string) {
	var what sending
	err := json.Unmarshal([]byte(in), &what)
	began := time.Now()
	if err == nil {
		err = what.do(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	took := time.Since(began).Seconds()
	if err := json.NewEncoder(os.Stdout).Encode(outcome{Rate: float64(what.Size) / took, Peak: status(os.Getpid(), "VmHWM")}); err != nil {
		log.Fatal(err)
	}
}

func (w sending) do(ctx context.Context) error {
	switch w.Way {
	case direct:
		return w.direct(ctx)
	case writer:
		return w.writer(ctx)
	case library:
		return w.library(ctx)
	case "PUT":
		return w.put()
	case "tus":
		return w.tus()
	case "form":
		return w.form()
	}
	return fmt.Errorf("there is no way %q", w.Way)
}

// config is the store's for the pipeline's own client.
func (a s3Access) config() origin.Config {
	return origin.Config{Endpoint: a.Endpoint, Bucket: a.Bucket, AccessKey: a.Access, SecretKey: a.Secret, PathStyle: true}
}

func makeBucket(ctx context.Context, a s3Access) error {
	w, err := origin.NewWriter(ctx, a.config())
	if err != nil {
		return err
	}
	defer w.Close()
	return w.EnsureBucket(ctx)
}

// send hands the body out part by part, as the pipeline does but for hashing: partsInFlight at a time, in buffers that are used again.
func (w sending) send(part func(number int, body []byte) error) error {
	errs := make([]error, w.parts())
	free := make(chan []byte, partsInFlight+1)
	for range cap(free) {
		free <- make([]byte, partSize)
	}
	var all sync.WaitGroup
	body := newBody(w.Size)
	for i := range errs {
		buf := <-free
		n, err := io.ReadFull(body, buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		all.Go(func() {
			errs[i] = part(i+1, buf[:n])
			free <- buf
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (w sending) parts() int { return int((w.Size + partSize - 1) / partSize) }

// client is AWS's SDK with its defaults.
func (a s3Access) client() *s3.Client {
	return s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &a.Endpoint, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(a.Access, a.Secret, "")})
}

// direct sends with the SDK's own calls.
func (w sending) direct(ctx context.Context) error {
	client, key := w.S3.client(), aws.String("x/bench/"+w.Name)
	made, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &w.S3.Bucket, Key: key})
	if err != nil {
		return err
	}
	done := make([]types.CompletedPart, w.parts())
	err = w.send(func(number int, body []byte) error {
		out, err := client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &w.S3.Bucket, Key: key, UploadId: made.UploadId, PartNumber: aws.Int32(int32(number)), Body: bytes.NewReader(body)})
		if err == nil {
			done[number-1] = types.CompletedPart{PartNumber: aws.Int32(int32(number)), ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32}
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &w.S3.Bucket, Key: key, UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	return err
}

// writer sends with Perigee's.
func (w sending) writer(ctx context.Context) error {
	out, err := origin.NewWriter(ctx, w.S3.config())
	if err != nil {
		return err
	}
	defer out.Close()
	key := object.Key("x/bench/" + w.Name)
	id, err := out.Create(ctx, key, "")
	if err != nil {
		return err
	}
	parts := make([]origin.Part, w.parts())
	err = w.send(func(number int, body []byte) (err error) {
		parts[number-1], err = out.Part(ctx, key, id, number, body)
		return err
	})
	if err != nil {
		return err
	}
	_, err = out.Complete(ctx, key, id, parts)
	return err
}

// library sends with AWS's transfer manager.
func (w sending) library(ctx context.Context) error {
	manager := transfermanager.New(w.S3.client(), func(o *transfermanager.Options) {
		o.PartSizeBytes, o.Concurrency = partSize, partsInFlight
	})
	key := "x/bench/" + w.Name
	_, err := manager.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &w.S3.Bucket, Key: &key, Body: newBody(w.Size)})
	return err
}

func (w sending) put() error {
	return w.request("PUT", w.API+"/api/v1/sites/www/files/"+w.Name, newBody(w.Size), w.Size, nil)
}

func (w sending) form() error {
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	if _, err := form.CreateFormFile("file", w.Name); err != nil {
		return err
	}
	end := "\r\n--" + form.Boundary() + "--\r\n"
	size := int64(head.Len()+len(end)) + w.Size
	return w.request("POST", w.API+"/api/v1/sites/www/files", io.MultiReader(&head, newBody(w.Size), strings.NewReader(end)), size,
		map[string]string{"Content-Type": form.FormDataContentType(), "Accept": "application/json"})
}

func (w sending) tus() error {
	req, err := http.NewRequest("POST", w.API+"/api/v1/uploads/", nil)
	if err != nil {
		return err
	}
	text := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Upload-Length", strconv.FormatInt(w.Size, 10))
	req.Header.Set("Upload-Metadata", "site "+text("www")+",path "+text("/"+w.Name))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	at, err := res.Location()
	if err != nil {
		return fmt.Errorf("%s: %w", res.Status, err)
	}
	return w.request("PATCH", at.String(), newBody(w.Size), w.Size,
		map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
}

func (w sending) request(method, url string, body io.Reader, size int64, header map[string]string) error {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return err
}

// newBody is a stream of size bytes that costs next to nothing to make. It cannot be sought, as what comes from a client cannot.
func newBody(size int64) io.Reader {
	const prime = 1<<20 + 7
	block := make([]byte, prime)
	x := uint64(88172645463325252)
	for i := range block {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		block[i] = byte(x)
	}
	return io.LimitReader(&loop{block: block}, size)
}

type loop struct {
	block []byte
	at    int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.block[l.at:])
	l.at = (l.at + n) % len(l.block)
	return n, nil
}
