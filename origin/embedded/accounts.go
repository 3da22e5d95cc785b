package embedded

import (
	"encoding/json"
	"fmt"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
)

// accounts are the users besides root: the edges' account or nobody. It is the server's identity service; it holds what the
// configuration says and cannot be changed over the network.
type accounts struct{ edge auth.Account }

func newAccounts(cfg Config) accounts {
	if cfg.EdgeAccess == "" {
		return accounts{}
	}
	return accounts{edge: auth.Account{Access: cfg.EdgeAccess, Secret: cfg.EdgeSecret, Role: auth.RoleUser}}
}

// GetUserAccount implements auth.IAMService. Root is not asked for here.
func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	if access == "" || access != a.edge.Access { // an access key is no secret; the signature is what is checked
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return a.edge, nil
}

// ResolveAccounts implements auth.IAMService: it returns those that do not exist.
func (a accounts) ResolveAccounts(access []string) (missing []string, err error) {
	for _, key := range access {
		if _, err := a.GetUserAccount(key); err != nil {
			missing = append(missing, key)
		}
	}
	return missing, nil
}

// CreateAccount implements auth.IAMService by refusing.
func (accounts) CreateAccount(auth.Account) error { return fixed() }

// UpdateUserAccount implements auth.IAMService by refusing.
func (accounts) UpdateUserAccount(string, auth.MutableProps) error { return fixed() }

// DeleteUserAccount implements auth.IAMService by refusing.
func (accounts) DeleteUserAccount(string) error { return fixed() }

// ListUserAccounts implements auth.IAMService by refusing.
func (accounts) ListUserAccounts() ([]auth.Account, error) { return nil, fixed() }

// Shutdown implements auth.IAMService.
func (accounts) Shutdown() error { return nil }

func fixed() error { return s3err.GetAPIError(s3err.ErrAdminMethodNotSupported) }

// policies returns what the edges' account may do: get and list the objects of the bucket, and no more.
func policies(cfg Config, a accounts) (map[string][]byte, error) {
	if a.edge.Access == "" {
		return nil, nil
	}
	type statement struct {
		Effect, Principal, Action, Resource any
	}
	arn := "arn:aws:s3:::" + cfg.Bucket
	who := map[string]string{"AWS": a.edge.Access}
	doc, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []statement{
			{"Allow", who, "s3:GetObject", arn + "/*"},
			{"Allow", who, "s3:ListBucket", arn},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("policy of bucket %s: %w", cfg.Bucket, err)
	}
	if err := auth.ValidatePolicyDocument(doc, cfg.Bucket, a); err != nil {
		return nil, fmt.Errorf("policy of bucket %s: %w", cfg.Bucket, err)
	}
	return map[string][]byte{cfg.Bucket: doc}, nil
}

var _ auth.IAMService = accounts{}
