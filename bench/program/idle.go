package program

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Busy returns the processor time that everything on this machine has used since it started, to a hundredth of a second.
func Busy() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	return busy(line)
}

// busy adds up the first line of /proc/stat (proc_stat(5)): "cpu", then user, nice, system, idle, iowait, irq, softirq, steal and, counted already, guest times.
func busy(line string) (sum time.Duration) {
	for i, f := range strings.Fields(line) {
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && i != 4 && i != 5 && i <= 8 {
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// window is how long AwaitIdle looks.
const window = 300 * time.Millisecond

// AwaitIdle waits until at most share of the processors is in use, and reports false when that has not come about within patience.
func AwaitIdle(share float64, patience time.Duration) bool {
	for began := time.Now(); ; {
		from, before := time.Now(), Busy()
		time.Sleep(window)
		if used := Busy() - before; used.Seconds() <= share*time.Since(from).Seconds()*float64(runtime.NumCPU()) {
			return true
		}
		if time.Since(began) > patience {
			return false
		}
	}
}
