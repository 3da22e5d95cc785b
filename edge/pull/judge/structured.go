package judge

import (
	"encoding/base64"
	"strings"
)

// scanner reads a structured field as RFC 8941 §4.2 says, the edition that RFC 9213 cites: one without dates and display strings. s is what remains.
type scanner struct{ s string }

// parseTargeted reads a targeted field as a Dictionary (RFC 9213 §2.1) into directives. Of a repeated key the last value counts, parameters are
// ignored, and a member that is false is as good as absent. ok is false when the field is absent or does not parse.
func parseTargeted(lines []string) (ds directives, ok bool) {
	p := scanner{strings.Trim(strings.Join(lines, ", "), " ")}
	for p.s != "" {
		name, keyOK := p.key()
		d := directive{name: name, arg: "?1", form: bare}
		if keyOK && p.eat("=") {
			d.form, d.arg, keyOK = p.value()
		}
		if !keyOK || !p.parameters() {
			return nil, false
		}
		ds = ds.set(d)
		p.skip(" \t")
		if p.s == "" {
			break
		}
		if !p.eat(",") {
			return nil, false
		}
		if p.skip(" \t"); p.s == "" {
			return nil, false
		}
	}
	return ds, len(lines) > 0
}

// set replaces the directive of the same name. A Boolean is a directive without argument, and false takes it away.
func (ds directives) set(d directive) directives {
	kept := directives{}
	for _, e := range ds {
		if e.name != d.name {
			kept = append(kept, e)
		}
	}
	if d.form == bare && d.arg == "?0" {
		return kept
	}
	if d.form == bare {
		d.arg = ""
	}
	return append(kept, d)
}

func (p *scanner) eat(prefix string) bool {
	rest, ok := strings.CutPrefix(p.s, prefix)
	p.s = rest
	return ok
}

func (p *scanner) skip(set string) { p.s = strings.TrimLeft(p.s, set) }

// run takes the longest prefix whose bytes all satisfy is.
func (p *scanner) run(is func(byte) bool) string {
	n := 0
	for n < len(p.s) && is(p.s[n]) {
		n++
	}
	taken := p.s[:n]
	p.s = p.s[n:]
	return taken
}

func (p *scanner) key() (string, bool) {
	if p.s == "" || !(isLower(p.s[0]) || p.s[0] == '*') {
		return "", false
	}
	return p.run(func(c byte) bool { return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0 }), true
}

func (p *scanner) parameters() bool {
	for p.eat(";") {
		p.skip(" ")
		if _, ok := p.key(); !ok {
			return false
		}
		if p.eat("=") {
			if _, _, ok := p.item(); !ok {
				return false
			}
		}
	}
	return true
}

// value is what may follow the = of a dictionary member.
func (p *scanner) value() (form, string, bool) {
	if !p.eat("(") {
		return p.item()
	}
	for {
		p.skip(" ")
		if p.eat(")") {
			return text, "", true
		}
		_, _, ok := p.item()
		if !ok || !p.parameters() || p.s == "" || p.s[0] != ' ' && p.s[0] != ')' {
			return text, "", false
		}
	}
}

// item is a bare item (RFC 8941 §4.2.3.1).
func (p *scanner) item() (form, string, bool) {
	switch {
	case p.s == "":
		return text, "", false
	case p.eat("?"):
		return p.boolean()
	case p.eat(`"`):
		return p.quoted()
	case p.eat(":"):
		return p.binary()
	case isDigit(p.s[0]) || p.s[0] == '-':
		return p.number()
	case isAlpha(p.s[0]) || p.s[0] == '*':
		return text, p.run(func(c byte) bool { return isTokenByte(c) || c == ':' || c == '/' }), true
	}
	return text, "", false
}

func (p *scanner) boolean() (form, string, bool) {
	bit := p.run(func(c byte) bool { return c == '0' || c == '1' })
	return bare, "?" + bit, len(bit) == 1
}

// number is an Integer or a Decimal; the latter is no delta-seconds, so it has form text.
func (p *scanner) number() (form, string, bool) {
	sign := ""
	if p.eat("-") {
		sign = "-"
	}
	whole := p.run(isDigit)
	if !p.eat(".") {
		return number, sign + whole, whole != "" && len(whole) <= 15
	}
	fraction := p.run(isDigit)
	return text, sign + whole + "." + fraction, whole != "" && len(whole) <= 12 && fraction != "" && len(fraction) <= 3
}

func (p *scanner) quoted() (form, string, bool) {
	var b strings.Builder
	for p.s != "" {
		c := p.s[0]
		p.s = p.s[1:]
		switch {
		case c == '"':
			return text, b.String(), true
		case c == '\\':
			if p.s == "" || p.s[0] != '"' && p.s[0] != '\\' {
				return text, "", false
			}
			c = p.s[0]
			p.s = p.s[1:]
		case c < ' ' || c > '~':
			return text, "", false
		}
		b.WriteByte(c)
	}
	return text, "", false
}

func (p *scanner) binary() (form, string, bool) {
	body, rest, ok := strings.Cut(p.s, ":")
	p.s = rest
	_, err := base64.StdEncoding.DecodeString(body)
	return text, body, ok && err == nil
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return isLower(c) || c >= 'A' && c <= 'Z' }
