package checklist

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// Slow, wrong and changing queries take nothing from the others.
func TestEvidenceQueriesDoNotSpoilEachOther(t *testing.T) {
	server, err := testserver.StartPostgres(serverDir(t))
	must(t, err)
	t.Cleanup(server.Stop)
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Database.URL, target.Config.Database.Name = server.URL("postgres"), "postgres"
	target.Config.Timeouts.Connect = time.Second
	target.Config.Celery.Evidence = map[string]string{
		"a-slow":  "SELECT now() FROM pg_sleep(60)",
		"b-quick": "SELECT timestamp '2026-11-23 02:00'",
		"c-slow":  "SELECT now() FROM pg_sleep(60)",
		"d-wrong": "SELECT nothing",
		"e-quick": "SELECT timestamp '2026-11-23 03:00'",
		"f-never": "SELECT NULL::timestamp",
		"g-write": "CREATE TABLE x ()",
	}
	began := time.Now()
	runs := target.taskRuns(t.Context())
	if took := time.Since(began); runs.err != nil || runs.tasks != nil || took > 3*time.Second {
		t.Errorf("%+v after %s", runs, took)
	}
	if len(runs.entries) != 3 || !runs.entries["b-quick"].Equal(night("23 02:00")) || !runs.entries["e-quick"].Equal(night("23 03:00")) || !runs.entries["f-never"].IsZero() {
		t.Errorf("%+v", runs.entries)
	}
	for entry, want := range map[string]string{"a-slow": "statement timeout", "c-slow": "statement timeout", "d-wrong": "does not exist", "g-write": "read-only transaction"} {
		if err := runs.queryErr[entry]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", entry, err, want)
		}
	}
}

func TestRootOf(t *testing.T) {
	for cwd, want := range map[string]string{
		"/srv/etf/releases/" + liveID + "/src/backend":               "/srv/etf",
		"/data/releases/etf/releases/" + liveID:                      "/data/releases/etf",
		"/srv/etf/releases/" + liveID + "/src/releases/" + "latest/": "/srv/etf",
		"/srv/releases/other/src":                                    "",
		"/":                                                          "",
	} {
		if got := rootOf(cwd); got != want {
			t.Errorf("%s: %q, want %q", cwd, got, want)
		}
	}
}

// A secret does not leave by a finding's samples, nor by its half.
func TestSecretsInWhatServersSay(t *testing.T) {
	const secret = `sesame"&opens`
	host.AddSecret(secret)
	page := config.Endpoint{Contains: "well", JSON: map[string]string{"a": "1"}}
	answer, err := json.Marshal(map[string]string{"a": secret})
	must(t, err)
	texts := as(fault("x", "y", ""), "x", nil, "task of "+secret).Samples
	texts = append(texts, judgeBody(page, string(answer))[1], short(strings.Repeat("z", 75)+secret), firstLine(strings.Repeat("z", 195)+secret))
	texts = append(texts, judgeBody(config.Endpoint{Contains: "well"}, strings.Repeat("z", 75)+secret)...)
	for _, text := range texts {
		if strings.Contains(text, "sesa") || strings.Contains(text, "zs") {
			t.Errorf("it is shown: %s", text)
		}
	}
	samples := []string{secret}
	if f := as(report.Finding{}, "x", nil, samples...); !slices.Equal(f.Samples, []string{"***"}) || samples[0] != secret {
		t.Errorf("%+v, %q", f, samples)
	}
}
