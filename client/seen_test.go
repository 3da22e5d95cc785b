package client_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"perigee/client"
)

// TestConsistencyIsSentBack: what an answer told is sent with the next call, and what parallel calls learned is joined.
func TestConsistencyIsSentBack(t *testing.T) {
	var mu sync.Mutex
	var got []string
	n := 0
	together := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.Header.Get("Perigee-Consistency"))
		n++
		token := fmt.Sprintf("t%d", n)
		if n == 3 {
			close(together)
		}
		second := n == 2 || n == 3
		mu.Unlock()
		if second {
			<-together // so that two calls are under way at a time
		}
		w.Header().Set("Perigee-Consistency", token)
		fmt.Fprint(w, "{}")
	}))
	defer h.Close()
	c := connect(t, client.Config{BaseURL: h.URL})
	call := func() {
		if _, err := c.Fleet(t.Context()); err != nil {
			t.Error(err)
		}
	}
	call()
	var both sync.WaitGroup
	both.Go(call)
	both.Go(call)
	both.Wait()
	call()
	call()
	last := strings.Split(got[3], ", ")
	if got[0] != "" || got[1] != "t1" || got[2] != "t1" || len(last) != 2 || !strings.Contains(got[3], "t2") || !strings.Contains(got[3], "t3") || got[4] != "t4" {
		t.Errorf("sent %q", got)
	}
}
