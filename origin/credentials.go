package origin

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// keysOf returns what gives the store's keys: those of cfg, else AWS's default chain. Both halves use this one chain: two SDKs that
// look in different places would find different keys on one machine.
func keysOf(ctx context.Context, cfg Config) (aws.CredentialsProvider, error) {
	if cfg.AccessKey != "" {
		return awscredentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, ""), nil
	}
	chain, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(cfg.Region))
	if err != nil {
		return nil, fmt.Errorf("bucket credentials: %w", err)
	}
	return chain.Credentials, nil
}

// lentKeys hands the chain's keys to minio-go. The chain keeps them and renews them before they expire, so it is asked each time.
type lentKeys struct{ from aws.CredentialsProvider }

// RetrieveWithCredContext implements credentials.Provider.
func (k lentKeys) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	v, err := k.from.Retrieve(ctx)
	if err != nil {
		return credentials.Value{}, fmt.Errorf("bucket credentials: %w", err)
	}
	return credentials.Value{
		AccessKeyID: v.AccessKeyID, SecretAccessKey: v.SecretAccessKey, SessionToken: v.SessionToken, Expiration: v.Expires,
		SignerType: credentials.SignatureV4,
	}, nil
}

// Retrieve implements credentials.Provider.
func (k lentKeys) Retrieve() (credentials.Value, error) { return k.RetrieveWithCredContext(nil) }

// IsExpired implements credentials.Provider.
func (k lentKeys) IsExpired() bool { return true }
