package lane

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	s := start(t, Config{Handler: echo}, time.Minute)
	c := s.dial()
	for _, target := range []string{"/hot", "/served?a=b", "/hot/2", "/hot/3", "/served/2"} {
		c.send(get(target))
		c.want(target)
	}
	c.send("HEAD /hot/4 HTTP/1.1\r\nhost: A\r\n\r\n")
	if resp, body := c.response("HEAD"); resp.ContentLength != 6 || body != "" {
		t.Fatalf("length %d, body %q", resp.ContentLength, body)
	}
	c.send(get("/hot/5", "Connection: close\r\n"))
	resp, body := c.response("GET")
	if !resp.Close || body != "/hot/5" {
		t.Fatalf("close %v, body %q", resp.Close, body)
	}
	if rest, err := c.ended(); rest != "" || err != nil {
		t.Fatalf("rest %q, %v", rest, err)
	}
	if n := s.fallbacks.Load(); n != 0 {
		t.Fatalf("%d fallbacks", n)
	}
}

// Pipelined answers keep their order, whoever gives them, and a request that is not canonical takes its followers with it.
func TestPipelining(t *testing.T) {
	s := start(t, Config{Handler: echo}, time.Minute)
	c := s.dial()
	var all strings.Builder
	var want []string
	for i := range 2000 {
		target := fmt.Sprintf("/hot/%d", i)
		if i%7 == 3 || i%7 == 4 {
			target = fmt.Sprintf("/served/%d", i)
		}
		all.WriteString(get(target, "User-Agent: something\r\n"))
		want = append(want, target)
	}
	all.WriteString("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
	all.WriteString(get("/hot/after"))
	want = append(want, "fallback POST /p body", "fallback GET /hot/after ")
	go c.Write([]byte(all.String()))
	for _, w := range want {
		c.want(w)
	}
}
