package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"perigee/durable"
)

// state is what an Updater remembers of a file, beside it.
type state struct {
	URL          string    `json:"url"` // that it came from
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	SHA256       string    `json:"sha256"`  // of the file as it was put in place
	MD5          string    `json:"md5"`     // the same; MaxMind's service asks for it
	Checked      time.Time `json:"checked"` // when the source was last asked with success
}

// maxState limits the file of a state in bytes.
const maxState = 64 << 10

func stateFile(file string) string { return file + ".update" }

// readState returns what is known of a file. Of one that is another than was put in place only the checksums are known: its source is asked as if for the first
// time. Of one that is missing nothing is. A state that cannot be read is as good as none.
func readState(file string) (state, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	have := newSums()
	if _, err := io.Copy(have, f); err != nil {
		return state{}, fmt.Errorf("read %s: %w", file, err)
	}
	if s, err := loadState(file); err == nil && s.SHA256 == have.sha256() {
		return s, nil
	}
	return state{SHA256: have.sha256(), MD5: have.md5()}, nil
}

func loadState(file string) (state, error) {
	f, err := os.Open(stateFile(file))
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	var s state
	data, err := io.ReadAll(io.LimitReader(f, maxState))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

func (s state) write(file string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.ReplaceBytes(stateFile(file), 0o644, append(b, '\n'))
}
