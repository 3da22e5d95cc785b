package geo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"perigee/durable"
)

// Verdict is the operator's word on what is in the files, where it differs from what would be found: which data to take although it looks wrong, and which
// to leave although it looks right. It lies beside the first file, so that it reaches every process that follows the files, and is read again whenever they change.
type Verdict struct {
	Accept string `json:"accept,omitempty"` // identity of the data to put into use without comparison
	Reject string `json:"reject,omitempty"` // identity of the data not to put into use again
}

// maxVerdict limits the file of a verdict in bytes: two identities of maxPaths files, and room to spare.
const maxVerdict = 4096

func verdictFile(first string) string { return first + ".verdict" }

// ReadVerdict returns the verdict on files whose first is named; the zero Verdict when there is none.
func ReadVerdict(first string) (Verdict, error) {
	f, err := os.Open(verdictFile(first))
	if errors.Is(err, fs.ErrNotExist) {
		return Verdict{}, nil
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("read the verdict on geo data: %w", err)
	}
	defer f.Close()
	var v Verdict
	data, err := io.ReadAll(io.LimitReader(f, maxVerdict))
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("read the verdict on geo data in %s: %w; remove the file", f.Name(), err)
	}
	return v, nil
}

// Write puts the verdict beside the first of the files that it is on, durably.
func (v Verdict) Write(first string) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = durable.ReplaceBytes(verdictFile(first), 0o644, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the verdict on geo data: %w", err)
	}
	return nil
}
