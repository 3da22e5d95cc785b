package embedded

import (
	"context"
	"encoding/json"
	"log/slog"
	"sort"
)

// relay passes on a line that a child wrote to standard error: a JSON line of log/slog as the record it was, anything else,
// such as a crash, as text.
func relay(log *slog.Logger, line string) {
	level, msg, attrs, ok := parseRecord([]byte(line))
	if !ok {
		if line != "" {
			log.Error("storage process", "text", line)
		}
		return
	}
	log.LogAttrs(context.Background(), level, msg, attrs...)
}

// parseRecord decodes what slog.JSONHandler wrote. The time is left out: the record gets a new one.
func parseRecord(line []byte) (level slog.Level, msg string, attrs []slog.Attr, ok bool) {
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		return 0, "", nil, false
	}
	name, named := fields[slog.LevelKey].(string)
	msg, said := fields[slog.MessageKey].(string)
	if !named || !said || level.UnmarshalText([]byte(name)) != nil {
		return 0, "", nil, false
	}
	for key, value := range fields {
		if key != slog.LevelKey && key != slog.MessageKey && key != slog.TimeKey {
			attrs = append(attrs, slog.Any(key, value))
		}
	}
	sort.Slice(attrs, func(i, j int) bool { return attrs[i].Key < attrs[j].Key })
	return level, msg, attrs, true
}
