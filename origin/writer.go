package origin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

// Writer is the write side of a bucket. Create one with NewWriter; Close it.
type Writer struct {
	cfg    Config
	client *s3.Client
	// normal and patient are two connection pools; completing a multipart upload uses the second.
	normal, patient *http.Transport
}

// NewWriter checks cfg and returns a Writer. It does not talk to the store; without keys in cfg it may read the
// environment and the files of AWS's credential chain, for no longer than ctx.
func NewWriter(ctx context.Context, cfg Config) (*Writer, error) {
	cfg, err := cfg.completed()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		cfg:     cfg,
		normal:  newTransport(cfg.Silence, cfg.Clock),
		patient: newTransport(patience*cfg.Silence, cfg.Clock),
	}
	creds, err := keysOf(ctx, cfg)
	if err != nil {
		return nil, err
	}
	opts := s3.Options{
		Region:       cfg.Region,
		Credentials:  creds,
		UsePathStyle: cfg.PathStyle,
		HTTPClient:   httpClient(cfg.Wrap(w.normal)),
		Retryer:      newRetryer(cfg),
		Logger:       sdkLog{cfg.Log},

		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenSupported,
		DisableLogOutputChecksumValidationSkipped: true,
	}
	if cfg.Endpoint != "" {
		opts.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	if cfg.onLoopback() {
		opts.APIOptions = append(opts.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
	if cfg.Checksums == ChecksumsRequired {
		opts.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		opts.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	w.client = s3.New(opts)
	return w, nil
}

// httpClient follows no redirect: a signature is good for one host, so S3 means a redirect as an error.
func httpClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close releases idle connections.
func (w *Writer) Close() {
	w.normal.CloseIdleConnections()
	w.patient.CloseIdleConnections()
}

// sdkLog carries the SDK's remarks to slog, at level debug: what matters comes back as an error.
type sdkLog struct{ log *slog.Logger }

func (l sdkLog) Logf(class logging.Classification, format string, v ...any) {
	l.log.Debug("s3 sdk", "class", string(class), "text", fmt.Sprintf(format, v...))
}
