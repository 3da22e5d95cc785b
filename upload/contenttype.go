package upload

import (
	"mime"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"

	"perigee/object"
)

// sniffLen is how many bytes of a file its type is guessed from.
const sniffLen = 3 << 10

const (
	octetStream = "application/octet-stream"
	plainText   = "text/plain"
)

// textKinds are the types that only the name tells: their content is text, or could be anything. The name decides.
var textKinds = map[string]string{
	".atom": "application/atom+xml", ".css": "text/css", ".csv": "text/csv", ".geojson": "application/geo+json",
	".htm": "text/html", ".html": "text/html", ".ics": "text/calendar", ".js": "text/javascript", ".json": "application/json",
	".jsonld": "application/ld+json", ".log": plainText, ".m3u8": "application/vnd.apple.mpegurl", ".map": "application/json",
	".md": "text/markdown", ".mjs": "text/javascript", ".mpd": "application/dash+xml", ".rss": "application/rss+xml",
	".srt": "application/x-subrip", ".svg": "image/svg+xml", ".toml": "application/toml", ".tsv": "text/tab-separated-values",
	".txt": plainText, ".vcf": "text/vcard", ".vtt": "text/vtt", ".webmanifest": "application/manifest+json",
	".xhtml": "application/xhtml+xml", ".xml": "application/xml", ".yaml": "application/yaml", ".yml": "application/yaml",
	// Source code has no types of its own; as text a browser shows it.
	".c": plainText, ".cc": plainText, ".cpp": plainText, ".go": plainText, ".h": plainText, ".java": plainText, ".mod": plainText,
	".py": plainText, ".rb": plainText, ".rs": plainText, ".s": plainText, ".sh": plainText, ".sql": plainText, ".sum": plainText,
}

// binaryKinds are the types of names whose content usually tells too. The content decides; the name does where the content
// says only what container it is.
var binaryKinds = map[string]string{
	".7z": "application/x-7z-compressed", ".aac": "audio/aac", ".apk": "application/vnd.android.package-archive",
	".avif": "image/avif", ".bmp": "image/bmp", ".br": octetStream, ".bz2": "application/x-bzip2",
	".deb":  "application/vnd.debian.binary-package",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".epub": "application/epub+zip",
	".flac": "audio/flac", ".gif": "image/gif", ".gz": "application/gzip", ".heic": "image/heic", ".ico": "image/x-icon",
	".iso": "application/x-iso9660-image", ".jar": "application/java-archive", ".jpeg": "image/jpeg", ".jpg": "image/jpeg",
	".jxl": "image/jxl", ".m4a": "audio/mp4", ".m4s": "video/iso.segment", ".m4v": "video/mp4", ".mkv": "video/x-matroska",
	".mov": "video/quicktime", ".mp3": "audio/mpeg", ".mp4": "video/mp4", ".odp": "application/vnd.oasis.opendocument.presentation",
	".ods": "application/vnd.oasis.opendocument.spreadsheet", ".odt": "application/vnd.oasis.opendocument.text",
	".oga": "audio/ogg", ".ogg": "audio/ogg", ".ogv": "video/ogg", ".opus": "audio/ogg", ".otf": "font/otf",
	".parquet": "application/vnd.apache.parquet", ".pdf": "application/pdf", ".png": "image/png", ".pmtiles": "application/vnd.pmtiles",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", ".rpm": "application/x-rpm",
	".tar": "application/x-tar", ".tgz": "application/gzip", ".tif": "image/tiff", ".tiff": "image/tiff", ".ts": "video/mp2t",
	".ttf": "font/ttf", ".wasm": "application/wasm", ".wav": "audio/wav", ".weba": "audio/webm", ".webm": "video/webm",
	".webp": "image/webp", ".woff": "font/woff", ".woff2": "font/woff2",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xz": "application/x-xz", ".zip": "application/zip",
	".zst": "application/zstd",
}

// containers are types that mimetype falls back to when a more special one would have needed more than the beginning.
var containers = map[string]bool{
	"application/zip": true, "application/x-ole-storage": true, "application/ogg": true, "application/gzip": true,
	"video/mp4": true, "application/jar": true, "application/java-archive": true, "video/webm": true, "video/x-matroska": true,
}

// contentType decides the Content-Type of a file from its name, its first bytes and what its publisher says. The
// publisher's word counts only for what neither name nor content tells. Content alone never makes a file of a type that a browser runs
// (object.ActiveType), PDF excepted, and neither does a name alone: a name that promises text does not count for bytes that are none.
// What nothing tells is application/octet-stream.
func contentType(p object.Path, head []byte, hint string) string {
	head = head[:min(len(head), sniffLen)]
	ext := strings.ToLower(path.Ext(p.Name()))
	text := isText(head)
	found := mimetype.Detect(head).String()
	found, _, _ = strings.Cut(found, ";")
	if t, ok := textKinds[ext]; ok {
		if text || isForeignText(head) {
			return withCharset(t, text)
		}
		return passive(found, octetStream)
	}
	named, isNamed := binaryKinds[ext]
	switch {
	case len(head) == 0 && isNamed:
		return named
	case len(head) == 0:
		return octetStream
	case text && ext == ".ts": // TypeScript, not an MPEG transport stream
		return withCharset(plainText, true)
	case isNamed && (text || found == octetStream || containers[found] || object.ActiveType(found) && found != named):
		return named
	case isNamed && !text:
		return found
	}
	said := hinted(hint)
	switch {
	case text && said != "" && (!object.ActiveType(said) || said == found):
		return withCharset(said, true)
	case text:
		return withCharset(passive(found, plainText), true)
	case found != octetStream:
		return passive(found, octetStream)
	case said != "" && !object.ActiveType(said) && !strings.HasPrefix(said, "text/"):
		return said
	}
	return octetStream
}

// passive returns t, or otherwise if a browser would run it.
func passive(t, otherwise string) string {
	if object.ActiveType(t) && t != "application/pdf" {
		return otherwise
	}
	return t
}

// hinted returns the media type in a Content-Type field, or "" if it says nothing.
func hinted(field string) string {
	t, _, err := mime.ParseMediaType(field)
	if err != nil || !strings.Contains(t, "/") || len(t) > 127 {
		return ""
	}
	switch t {
	case octetStream, "application/x-www-form-urlencoded", "multipart/form-data", "application/offset+octet-stream":
		return "" // what tools send when they do not know
	}
	return t
}

// withCharset adds the charset to a text type whose content was seen to be UTF-8. Otherwise the file or the
// browser has to know.
func withCharset(t string, utf8Text bool) string {
	if utf8Text && (strings.HasPrefix(t, "text/") || t == "image/svg+xml" || t == "application/xml") {
		return t + "; charset=utf-8"
	}
	return t
}

// isText reports whether head is UTF-8 without control characters that text does not have. A rune cut at the end is
// forgiven. An empty file is text.
func isText(head []byte) bool {
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n <= 1 {
			return len(head) < utf8.UTFMax && !utf8.FullRune(head)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' && r != '\x1b' {
			return false
		}
		head = head[n:]
	}
	return true
}

// byteOrderMarks begin texts in UTF-16 and UTF-32; browsers obey them before anything else (https://encoding.spec.whatwg.org/#bom-sniff).
var byteOrderMarks = []string{"\xff\xfe", "\xfe\xff"}

// isForeignText reports whether head is text in another encoding than UTF-8: after a byte order mark, or of one byte a character.
func isForeignText(head []byte) bool {
	for _, m := range byteOrderMarks {
		if strings.HasPrefix(string(head), m) {
			return true
		}
	}
	for _, c := range head {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != '\x1b' || c == 0x7f {
			return false
		}
	}
	return true
}
