package program

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBusy(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"cpu  100 20 30 99999 9999 4 5 6 70 80": 1650 * time.Millisecond,
		"cpu  1 0 0 5":                          10 * time.Millisecond,
		"":                                      0,
	} {
		if got := busy(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
	if Busy() <= 0 {
		t.Error("this machine has never done anything")
	}
}

// TestProgram: what a program and its children use is counted, and Kill ends all of them.
func TestProgram(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start("0", log, "sh", "-c", "sh -c 'while :; do :; done' & while :; do :; done")
	if err != nil {
		t.Skipf("taskset does not run here: %v", err)
	}
	defer p.Kill()
	for deadline := time.Now().Add(30 * time.Second); CPU(p) < 50*time.Millisecond || len(p.tree()) < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) || p.Ended() {
			t.Fatalf("it has used %v, in processes %v", CPU(p), p.tree())
		}
	}
	if resident, anonymous := Memory(p); resident <= anonymous || anonymous <= 0 {
		t.Errorf("of %d bytes %d are its own", resident, anonymous)
	}
	all := p.tree()
	p.Kill()
	if !p.Ended() {
		t.Error("it was killed and runs")
	}
	for _, pid := range all[1:] {
		for deadline := time.Now().Add(30 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("its child %d runs", pid)
			}
		}
	}
}

func TestFreeAddr(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil || !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Errorf("%q, %v", addr, err)
	}
}

// alive reports whether a process runs; one that is dead and not yet waited for does not.
func alive(pid int) bool {
	f := statFields(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return len(f) > 0 && f[0] != "Z"
}
