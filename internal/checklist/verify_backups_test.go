package checklist

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

func TestLastDue(t *testing.T) {
	times := []config.TimeOfDay{config.TimeOfDay(time.Hour), config.TimeOfDay(13 * time.Hour)}
	for now, want := range map[string]string{"23 00:59": "22 13:00", "23 01:00": "23 01:00", "23 12:59": "23 01:00", "23 13:30": "23 13:00"} {
		if got := lastDue(times, night(now)); !got.Equal(night(want)) {
			t.Errorf("at %s: %s, want %s", now, got, want)
		}
	}
	if got := lastDue(nil, night("23 12:00")); !got.IsZero() {
		t.Error(got)
	}
}

// A backup of four bytes, made whole, damaged in each way, and looked at.
func TestVerifyBackups(t *testing.T) {
	const id, sum = "20261123T010500Z-0123abcd", "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7" // of "data"
	backupsOf := func(t *testing.T) (*Target, *Manifest, string) {
		target := filed(t)
		target.Observer = &silentObserver{}
		target.Now = func() time.Time { return night("23 09:00") }
		target.Config.Timeouts = config.Timeouts{Connect: 5 * time.Second, Check: 10 * time.Second, Verify: time.Second}
		target.Config.Thresholds.BackupAge = 26 * time.Hour
		target.Config.Backup.Schedule = []config.TimeOfDay{config.TimeOfDay(time.Hour)}
		created := night("23 01:05")
		m := &Manifest{V: ManifestVersion, ID: id, Created: created, Purpose: "by hand", Env: EnvCopy{File: ".env", Bytes: 3},
			Database: postgres.DumpInfo{Size: 4, SHA256: sum}, Proof: Proof{Contents: &created}}
		dir := target.backupDir(id)
		must(t, os.MkdirAll(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, dumpFile), []byte("data"), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, ".env"), []byte("A=b"), 0o600))
		return target, m, dir
	}
	for _, c := range []struct {
		name   string
		change func(target *Target, m *Manifest, dir string)
		key    string // of the finding that is not well; empty: all are
		status report.Status
		found  string
	}{
		{"all well", func(*Target, *Manifest, string) {}, "", report.OK, ""},
		{"the dump is gone", func(_ *Target, _ *Manifest, dir string) { os.Remove(filepath.Join(dir, dumpFile)) }, "newest", report.Fault, "no such file"},
		{"it is shorter", func(_ *Target, _ *Manifest, dir string) {
			os.WriteFile(filepath.Join(dir, dumpFile), []byte("dat"), 0o600)
		}, "newest", report.Fault, "3 bytes, its manifest says 4"},
		{"one byte is another", func(_ *Target, _ *Manifest, dir string) {
			os.WriteFile(filepath.Join(dir, dumpFile), []byte("dota"), 0o600)
		}, "checksum", report.Fault, "it has changed since"},
		{"too large to read now", func(_ *Target, m *Manifest, dir string) {
			m.Database.Size = 1 << 40
			must(t, os.Truncate(filepath.Join(dir, dumpFile), 1<<40)) // without a byte on the disk
		}, "checksum", report.Warning, "not recomputed: 1.1 TB are too large"},
		{"never proven", func(_ *Target, m *Manifest, _ string) { m.Proof.Contents = nil }, "newest", report.Fault, "never proven"},
		{"too old", func(target *Target, _ *Manifest, _ string) { target.Config.Thresholds.BackupAge = 7 * time.Hour }, "newest", report.Fault, "old"},
		{"others may read .env", func(_ *Target, _ *Manifest, dir string) { os.Chmod(filepath.Join(dir, ".env"), 0o640) }, "env", report.Fault, "mode 0640, and it holds passwords"},
		{"no copy of .env", func(_ *Target, _ *Manifest, dir string) { os.Remove(filepath.Join(dir, ".env")) }, "env", report.Fault, "no such file"},
		{"a copy of .env that was cut", func(_ *Target, m *Manifest, _ string) { m.Env.Bytes = 4 }, "env", report.Fault, "3 bytes, 4 were written"},
		{"no schedule", func(target *Target, _ *Manifest, _ string) { target.Config.Backup.Schedule = nil }, "schedule", report.Warning, "not looked at"},
		{"the schedule did not run", func(target *Target, _ *Manifest, _ string) {
			target.Now = func() time.Time { return night("24 02:01") }
		}, "schedule", report.Fault, "one was due 2026-11-24 01:00:00 UTC, and the newest is of 2026-11-23 01:05:00 UTC"},
		{"it may still be running", func(target *Target, _ *Manifest, _ string) {
			target.Now = func() time.Time { return night("24 01:59") }
		}, "", report.OK, ""},
		{"it runs for longer", func(target *Target, _ *Manifest, _ string) {
			target.Now = func() time.Time { return night("24 02:01") }
			must(t, os.MkdirAll(target.backupDir(".partial-20261124T010002Z-0123abcd"), 0o700))
		}, "schedule", report.Warning, "is not complete: .partial-20261124T010002Z-0123abcd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, m, dir := backupsOf(t)
			c.change(target, m, dir)
			must(t, target.writeManifest(t.Context(), dir, m))
			seen := false
			for _, f := range verifyBackups.Run(t.Context(), target, Subject{}) {
				if f.Key == c.key {
					seen = true
					if f.Status != c.status || !strings.Contains(f.Found, c.found) {
						t.Errorf("%+v, want %s: %s", f, c.status, c.found)
					}
				} else if f.Status != report.OK && f.Key != "checksum" {
					t.Errorf("%+v", f)
				}
			}
			if !seen && c.key != "" {
				t.Errorf("no finding %s", c.key)
			}
		})
	}
	target, _, _ := backupsOf(t)
	must(t, os.RemoveAll(target.backupDir("")))
	if f := verifyBackups.Run(t.Context(), target, Subject{}); len(f) != 1 || f[0].Status != report.Fault || f[0].Found != "there is none" {
		t.Errorf("%+v", f)
	}
}

func TestComparePrices(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	prices := func(values ...float64) canaryPrices {
		p := canaryPrices{price: map[priceKey]float64{}, splits: map[priceKey]bool{}, rows: len(values), newest: day(len(values))}
		for i, v := range values {
			p.price[priceKey{day(i + 1), "yfinance"}] = v
		}
		return p
	}
	twice := prices(100, 101, 102)
	twice.rows++
	split := prices(100, 50, 51)
	split.splits[priceKey{day(2), "yfinance"}] = true
	other := prices(100, 101, 102)
	other.price[priceKey{day(3), "manual"}], other.rows = 102, 4
	for _, c := range []struct {
		name   string
		before canaryPrices
		after  canaryPrices
		want   priceDiff
		status report.Status
	}{
		{"the same", prices(100, 101, 102), prices(100, 101, 102), priceDiff{}, report.OK},
		{"a new day", prices(100, 101), prices(100, 101, 102), priceDiff{added: 1}, report.OK},
		{"another source", prices(100, 101, 102), other, priceDiff{added: 1}, report.OK},
		{"a correction", prices(100, 101, 102), prices(100, 102, 102), priceDiff{changed: 1}, report.OK},
		{"the newest day moves", prices(100, 101, 102), prices(100, 101, 110), priceDiff{changed: 1}, report.OK},
		{"other prices", prices(100, 101, 102), prices(100, 111, 112), priceDiff{changed: 2, away: []string{"2026-11-02: 111.00, was 101.00"}}, report.Fault},
		{"wrong ones are put right", prices(100, 111, 112), prices(100, 101, 102), priceDiff{changed: 2, towards: []string{"2026-11-02: 101.00, was 111.00"}}, report.Warning},
		{"a split", prices(100, 101, 102), split, priceDiff{changed: 2, away: []string{"2026-11-02: 50.00, was 101.00", "2026-11-03: 51.00, was 102.00"}, split: true}, report.Warning},
		{"stored twice", prices(100, 101, 102), twice, priceDiff{twice: 1}, report.Fault},
		{"gone", prices(100, 101, 102), prices(100, 101), priceDiff{removed: 1}, report.Fault},
	} {
		got := comparePrices(c.before, c.after, 0.02, 0.25)
		if got.added != c.want.added || got.removed != c.want.removed || got.changed != c.want.changed || got.twice != c.want.twice || got.split != c.want.split ||
			strings.Join(got.away, ";") != strings.Join(c.want.away, ";") || strings.Join(got.towards, ";") != strings.Join(c.want.towards, ";") {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		target := withConfig()
		target.Config.Thresholds.PriceCorrection, target.Config.Thresholds.PriceJump = 0.02, 0.25
		if f := target.judgePrices("X", c.before, c.after); f.Status != c.status || f.Counts["looked"] != int64(c.after.rows) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// A silentObserver sees and says nothing.
type silentObserver struct{}

func (*silentObserver) Started(string)                                 {}
func (*silentObserver) Progress(string, int64, int64, string)          {}
func (*silentObserver) Finished(string, string, time.Duration, string) {}
func (*silentObserver) Log(string, string)                             {}
