package cache

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxRecord bounds a journal record, so that a damaged length cannot ask for gigabytes.
const maxRecord = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journal is an append-only file of JSON records, each behind its length and CRC-32C (little endian). It ends, when read,
// at the first record that is not whole: what follows was being written when the power went.
// It is not safe for concurrent use.
type journal struct {
	path    string
	file    *os.File
	size    int64
	first   int64 // how long it was when it was last rewritten
	buf     []byte
	records int // in the file, dead ones too
}

// openJournal reads the journal at path, calling each for every whole record, and cuts off what follows the last one.
// An error of each ends reading there, too: a record that this version cannot read is like a damaged one.
func openJournal(path string, each func(record) error) (*journal, error) {
	if err := removeUnfinished(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{path: path, file: f}
	j.size, j.records = readRecords(bufio.NewReaderSize(f, 1<<20), each)
	if err := f.Truncate(j.size); err != nil {
		f.Close()
		return nil, fmt.Errorf("cut journal: %w", err)
	}
	j.first = j.size
	return j, nil
}

// unfinished begins the name of the file that a rewrite writes before it takes the journal's place.
const unfinished = ".journal-"

// removeUnfinished removes what a rewrite left that was killed.
func removeUnfinished(dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), unfinished) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	return nil
}

// readRecords calls each for every record of r up to the first that is not whole or that each does not take, and returns
// how long they are together and how many.
func readRecords(r io.Reader, each func(record) error) (size int64, records int) {
	for {
		rec, n, err := readRecord(r)
		if err == nil {
			err = each(rec)
		}
		if err != nil {
			return size, records
		}
		size += n
		records++
	}
}

var errTorn = errors.New("record is not whole")

func readRecord(r io.Reader) (record, int64, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return record{}, 0, err
	}
	n := binary.LittleEndian.Uint32(head[:4])
	if n > maxRecord {
		return record{}, 0, errTorn
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return record{}, 0, errTorn
	}
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return record{}, 0, errTorn
	}
	var rec record
	if err := json.Unmarshal(body, &rec); err != nil {
		return record{}, 0, fmt.Errorf("%w: %v", errTorn, err)
	}
	return rec, int64(len(head)) + int64(n), nil
}

func appendRecord(buf []byte, rec *record) []byte {
	body, err := json.Marshal(rec)
	if err != nil {
		panic("cache: a record always marshals: " + err.Error())
	}
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(body)))
	buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(body, castagnoli))
	return append(buf, body...)
}

// append writes rec in one write call. After an error the journal ends where it did before, as far as the disk lets it.
func (j *journal) append(rec *record) error {
	j.buf = appendRecord(j.buf[:0], rec)
	if n, err := j.file.WriteAt(j.buf, j.size); err != nil {
		if n > 0 {
			err = errors.Join(err, j.file.Truncate(j.size))
		}
		return fmt.Errorf("write journal: %w", err)
	}
	j.size += int64(len(j.buf))
	j.records++
	return nil
}

// begin writes what a new journal begins with to a file beside the journal, on stable storage. The caller puts it in place with
// replace, or calls discard.
func (j *journal) begin(state []byte) (*os.File, error) {
	tmp, err := os.CreateTemp(filepath.Dir(j.path), unfinished+"*")
	if err != nil {
		return nil, fmt.Errorf("rewrite journal: %w", err)
	}
	_, err = tmp.Write(state)
	if err == nil {
		err = tmp.Sync()
	}
	if err != nil {
		discard(tmp)
		return nil, fmt.Errorf("rewrite journal: %w", err)
	}
	return tmp, nil
}

func discard(tmp *os.File) {
	tmp.Close()
	os.Remove(tmp.Name())
}

// replace makes tmp the journal, which has records records, after it has got what the journal has from byte from on, which is tail
// records. Until the rename the old one counts; the directory is synced, so that a power cut leaves one of the two.
func (j *journal) replace(tmp *os.File, records int, from int64, tail int) error {
	size, err := tmp.Seek(0, io.SeekEnd)
	if err == nil && from < j.size {
		var n int64
		n, err = io.Copy(tmp, io.NewSectionReader(j.file, from, j.size-from))
		size += n
	}
	if err == nil {
		err = os.Rename(tmp.Name(), j.path)
	}
	if err != nil {
		discard(tmp)
		return fmt.Errorf("rewrite journal: %w", err)
	}
	j.file.Close()
	j.file, j.size, j.records, j.first = tmp, size, records+tail, size
	if err := syncDir(filepath.Dir(j.path)); err != nil {
		return fmt.Errorf("rewrite journal: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) close() error { return j.file.Close() }
