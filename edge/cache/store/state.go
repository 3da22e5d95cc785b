package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// A state file is magic 4 | CRC-32C of the rest 4 | content.
const (
	fileHead  = 8
	fileMagic = 0x31464750
)

func (s *Store) readFile(name string, limit int64) ([]byte, error) {
	f, err := s.files.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit || size < fileHead {
		return nil, errTorn
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, readError(err)
	}
	if !checkFile(b) {
		return nil, fmt.Errorf("%s: %w", name, errTorn)
	}
	return b[fileHead:], nil
}

// checkFile tells whether a state file is whole.
func checkFile(b []byte) bool {
	return binary.LittleEndian.Uint32(b) == fileMagic && binary.LittleEndian.Uint32(b[4:]) == crc32.Checksum(b[fileHead:], castagnoli)
}

// writeFile puts a file in place, whole and on stable storage.
func (s *Store) writeFile(name string, content []byte) error {
	return s.stream(name, func(write func([]byte) error) error { return write(content) })
}

// stream is writeFile for content that comes in pieces.
func (s *Store) stream(name string, content func(write func([]byte) error) error) error {
	tmp := name + ".new"
	f, err := s.files.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	crc, at := uint32(0), int64(fileHead)
	err = content(func(b []byte) error {
		crc = crc32.Update(crc, castagnoli, b)
		_, err := f.WriteAt(b, at)
		at += int64(len(b))
		return err
	})
	if err == nil {
		var head [fileHead]byte
		binary.LittleEndian.PutUint32(head[:], fileMagic)
		binary.LittleEndian.PutUint32(head[4:], crc)
		_, err = f.WriteAt(head[:], 0)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.files.Rename(tmp, name)
	}
	if err != nil {
		s.files.Remove(tmp)
		return fmt.Errorf("write %s: %w", filepath.Base(name), err)
	}
	return s.files.SyncDir(filepath.Dir(name))
}

// The heat file has, of each record that was asked for, its tag and its heat. It is cut off where its room ends: then some are forgotten.
const heatSize = 9

// saveState writes heat and the policy's state.
func (s *Store) saveState() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	room := s.stateRoom - fileHead
	err := s.stream(filepath.Join(s.cfg.Dir, "heat"), func(write func([]byte) error) error {
		var buf []byte
		for i := range s.index.shards {
			buf = s.index.shards[i].appendHeat(buf[:0], i)
			buf = buf[:min(int64(len(buf)), room/heatSize*heatSize)]
			room -= int64(len(buf))
			if err := write(buf); err != nil {
				return err
			}
		}
		return nil
	})
	s.deciding.Lock()
	state := s.policy.Save()
	s.deciding.Unlock()
	if int64(s.policy.SavedSize()) > s.stateRoom-fileHead {
		return err
	}
	return errors.Join(err, s.stream(filepath.Join(s.cfg.Dir, "policy"), func(write func([]byte) error) error {
		for piece := range state {
			if err := write(piece); err != nil {
				return err
			}
		}
		return nil
	}))
}

// appendHeat adds what is hot in the shard number i.
func (t *shard) appendHeat(b []byte, i int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.table {
		if h := e.word().heat(); h > 0 {
			b = append(binary.LittleEndian.AppendUint64(b, fullTag(i, e.tag)), h)
		}
	}
	return b
}

// loadState brings heat and policy state back. What cannot be read is missing, no more.
func (s *Store) loadState() {
	b, err := s.readFile(filepath.Join(s.cfg.Dir, "heat"), s.stateRoom)
	s.complain("heat", err)
	for ; len(b) >= heatSize; b = b[heatSize:] {
		s.index.setHeat(binary.LittleEndian.Uint64(b), b[8]&63)
	}
	b, err = s.readFile(filepath.Join(s.cfg.Dir, "policy"), s.stateRoom)
	if err == nil {
		err = s.policy.Load(b)
	}
	s.complain("policy", err)
}

// complain removes a state file that is of no use: it may be larger than its room.
func (s *Store) complain(name string, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	s.cfg.Log.Warn("what was hot in the cache could not be read; it begins anew", "file", name, "err", err)
	if err := s.files.Remove(filepath.Join(s.cfg.Dir, name)); err != nil {
		s.cfg.Log.Warn("a file of the cache cannot be removed", "err", err)
	}
}
