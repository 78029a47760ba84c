package checklist

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

func TestJudgeBody(t *testing.T) {
	const body = `{"status": "ok", "n": 5, "f": 5.0, "yes": true, "none": null, "items": [{"id": "A"}], "empty": []}`
	holds := func(pairs ...string) config.Endpoint {
		e := config.Endpoint{JSON: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			e.JSON[pairs[i]] = pairs[i+1]
		}
		return e
	}
	for _, c := range []struct {
		page config.Endpoint
		body string
		want []string
	}{
		{holds("status", "ok", "n", "5", "f", "5", "yes", "true", "none", "null", "items.0.id", "A", "items.0", "*"), body, nil},
		{config.Endpoint{Contains: `"ok"`}, body, nil},
		{config.Endpoint{Contains: "well"}, "not\n so", []string{`does not contain "well": not so`}},
		{config.Endpoint{Contains: "x"}, "", []string{`does not contain "x": it is empty`}},
		{holds("status", "error"), body, []string{`status is "ok", not error`}},
		{holds("n", "6"), body, []string{"n is 5, not 6"}},
		{holds("n", "five"), body, []string{"n is 5, not five"}},
		{holds("yes", "false"), body, []string{"yes is true, not false"}},
		{holds("none", "*"), body, []string{"none is null"}},
		{holds("empty.0", "*"), body, []string{"empty.0: there is no empty.0"}},
		{holds("items.1.id", "*"), body, []string{"items.1.id: there is no items.1"}},
		{holds("items.-1", "*"), body, []string{"items.-1: there is no items.-1"}},
		{holds("status.deeper", "*"), body, []string{"status.deeper: there is no status.deeper"}},
		{holds("0.id", "A"), `[{"id": "A"}]`, nil},
		{holds("a", "*"), "<html>", []string{"is not JSON (invalid character '<' looking for beginning of value): <html>"}},
		{holds("a", "1"), `{"a": 1} {`, []string{"is not JSON (more follows it): {\"a\": 1} {"}},
		{holds("a", "x", "b", "y"), `{"a": "` + strings.Repeat("z", 200) + `"}`, []string{`a is "` + strings.Repeat("z", 78) + "…, not x", "b: there is no b"}},
	} {
		if diff := cmp.Diff(c.want, judgeBody(c.page, c.body)); diff != "" {
			t.Errorf("%+v: %s", c.page, diff)
		}
	}
}

// Endpoints of every kind at once: one that hangs neither holds the others nor
// passes.
func TestVerifyAPI(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { silent.Close() })
	released := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status": "ok", "release": %q}`, liveID)
	})
	mux.HandleFunc("/old", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-R", olderID) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/health", http.StatusFound) })
	mux.HandleFunc("/hangs", func(http.ResponseWriter, *http.Request) { <-released })
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { time.Sleep(60 * time.Millisecond) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(released) })

	target := filed(t)
	target.Config.Timeouts = config.Timeouts{Connect: 500 * time.Millisecond, Check: time.Second, Verify: time.Second}
	target.Config.Thresholds.Latency = 500 * time.Millisecond
	target.Config.API = config.API{URL: server.URL, Health: "/health", ReleaseHeader: "X-R", ReleaseField: "release", Endpoints: []config.Endpoint{
		{Path: "/hangs"}, {Path: "/none", Status: 404}, {Path: "/none?"}, {Path: "/old"}, {Path: "/away"}, {Path: "/away?", Status: 302},
		{Path: "/slow", Latency: 10 * time.Millisecond}, {Path: "/health?", JSON: map[string]string{"status": "fine"}},
	}}
	live, err := target.Releases.Current(t.Context())
	must(t, err)
	began := time.Now()
	findings := verifyAPI.Run(t.Context(), target, Subject{Live: live})
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
	want := []struct {
		key    string
		status report.Status
		found  string
	}{
		{"", report.Unknown, "supervisord is not reachable"}, // there is none here
		{"/health", report.OK, "200 in "},
		{"/hangs", report.Fault, "no whole answer within"},
		{"/none", report.OK, "404 in "},
		{"/none?", report.Fault, "answers 404 Not Found, not 200: 404 page not found"},
		{"/old", report.Fault, fmt.Sprintf("answered by release %q, live is %s", olderID, liveID)},
		{"/away", report.OK, "200 in "},
		{"/away?", report.OK, "302 in "},
		{"/slow", report.Warning, "200 after"},
		{"/health?", report.Fault, `status is "ok", not fine`},
	}
	if len(findings) != len(want) {
		t.Fatalf("%+v", findings)
	}
	for i, w := range want {
		f := findings[i]
		if f.Key != w.key || f.Status != w.status || !strings.Contains(f.Found, w.found) || w.key != "" && f.Counts["latency_ms"] < 0 || f.Check != "verify:api" {
			t.Errorf("%+v, want %+v", f, w)
		}
	}

	target.Config.API.URL, target.Config.API.Endpoints = "http://"+silent.Addr().String(), nil
	if f := verifyAPI.Run(t.Context(), target, Subject{Live: live}); f[1].Status != report.Fault || !strings.HasPrefix(f[1].Found, "no whole answer") {
		t.Errorf("accepts and says nothing: %+v", f[1])
	}
}
