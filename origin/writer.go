package origin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
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
	creds, err := writerCredentials(ctx, cfg)
	if err != nil {
		return nil, err
	}
	opts := s3.Options{
		Region:       cfg.Region,
		Credentials:  creds,
		UsePathStyle: cfg.PathStyle,
		HTTPClient:   httpClient(w.normal),
		Retryer:      newRetryer(cfg.attempts()),
		Logger:       sdkLog{cfg.Log},

		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenSupported,
		DisableLogOutputChecksumValidationSkipped: true,
	}
	if cfg.Endpoint != "" {
		opts.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	if cfg.Checksums == ChecksumsRequired {
		opts.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		opts.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	w.client = s3.New(opts)
	return w, nil
}

func writerCredentials(ctx context.Context, cfg Config) (aws.CredentialsProvider, error) {
	if cfg.AccessKey != "" {
		return credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, ""), nil
	}
	chain, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(cfg.Region))
	if err != nil {
		return nil, fmt.Errorf("bucket credentials: %w", err)
	}
	return chain.Credentials, nil
}

// httpClient follows no redirect: a signature is good for one host, so S3 means a redirect as an error.
func httpClient(t *http.Transport) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newRetryer repeats what the SDK knows to be repeatable. The SDK's own limiter is off: it would remember a long outage and
// then refuse to retry at all for a while after it.
func newRetryer(attempts int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = time.Second
		o.RateLimiter = ratelimit.None
	})
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
