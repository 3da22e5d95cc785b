package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// serverLog writes the NATS server's messages to slog. What the server calls a notice is debugging here: it is a part
// of a bigger program.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	fatal error
}

// failure returns the first message the server held for fatal. It goes on after such a one, half started.
func (l *serverLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = errors.New(strings.ReplaceAll(fmt.Sprintf(format, v...), `"`, ""))
	}
}

func (l *serverLog) Warnf(format string, v ...any) {
	// The server advises against passwords that are not bcrypt hashes. They come from a configuration file that only
	// its owner may read, where the clients' side needs them in clear anyway.
	if strings.HasPrefix(format, "Plaintext passwords detected") {
		return
	}
	l.log.Warn("bus: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) { l.log.Error("bus: " + fmt.Sprintf(format, v...)) }
func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("bus: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
